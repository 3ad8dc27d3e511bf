-- What has become of a job: its state (see job_list), what it yielded, the error of its last attempt that failed, and how far its
-- handler said it has come. One row. result is null for bytes. It does not wait: ask again. Results are kept as long as the job:
-- for held ones the queue's keep_done, in the ring until its segment is emptied.
-- Errors: 22004, TL007 for an id that is unknown, or was done and forgotten.
create or replace function trunkline.job_result(id bigint)
returns table (state text, result text, result_bytes bytea, error text, progress int, progress_message text)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select s.state, s.result, s.result_bytes, s.errors -> -1 ->> 'error', s.progress, s.progress_message
      from trunkline.job_show(job_result.id) s;
end $$;
