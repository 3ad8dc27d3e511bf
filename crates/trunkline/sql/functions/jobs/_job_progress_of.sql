-- How far a job has come, as its handler said last, and when: no row when it has said nothing, or the job is forgotten.
create or replace function trunkline._job_progress_of(id bigint) returns table (percent int, message text, at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off as $$
#variable_conflict use_column
begin
    return query select p.percent::int, p.message, p.at from trunkline.job_progress p where p.id = _job_progress_of.id;
end $$;
