-- One job with all that is known of it: one row. errors: of each attempt that failed, with its time. progress: see job_progress.
-- payload and result are null for bytes. Errors: 22004, TL007 for an id that is unknown, or was done and forgotten.
create or replace function trunkline.job_show(id bigint)
returns table (job_id bigint, queue text, kind text, state text, priority int, key text, unique_key text, attempt int,
               max_attempts int, pushed_at timestamptz, due_at timestamptz, begun_at timestamptz, ended_at timestamptz,
               worker text, payload text, bytes bytea, headers jsonb, errors jsonb, result text, result_bytes bytea,
               progress int, progress_message text, progress_at timestamptz)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp set jit = off as $$
#variable_conflict use_column
begin
    if job_show.id is null then
        raise exception 'job id must not be null' using errcode = '22004';
    end if;
    return query
    select r.id, q.name, r.kind, r.state, r.lane & 15, r.key, r.unique_key, r.attempt, r.max_attempts, r.at, r.due_at, r.begun_at,
           r.ended_at, s.application, case when r.content <> 0 then trunkline._request_text(r.payload) end, r.payload,
           trunkline._request_headers(r.headers), r.errors,
           case when r.result_content <> 0 then trunkline._request_text(r.result) end, r.result, p.percent::int,
           p.message, p.at
      from trunkline._job_rows(job_show.id, null) r
      join trunkline.job_queue q on q.id = r.lane >> 4
      left join trunkline.session s on s.id = r.session and r.state = 'running'
      left join trunkline.job_progress p on p.id = r.id;
    if not found then
        raise exception 'no job % (never pushed, or done and forgotten)', job_show.id using errcode = 'TL007';
    end if;
end $$;
