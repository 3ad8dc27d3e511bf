-- All jobs with their states, wherever they are: see job_list. one: only this id; queue: only of this one; each may be null.
create or replace function trunkline._job_rows(one bigint, queue int)
returns table (id bigint, lane int, state text, attempt int, max_attempts int, at timestamptz, due_at timestamptz,
               begun_at timestamptz, ended_at timestamptz, session int, key text, unique_key text, content int, kind text,
               payload bytea, headers text, errors jsonb, result_content int, result bytea)
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp set jit = off as $$
#variable_conflict use_column
begin
    return query
    select h.id, h.lane,
           case h.state when 1 then 'running' when 2 then 'dead' when 3 then 'cancelled' when 4 then 'done' when 5 then 'waiting'
                else case when h.attempt > 0 then 'retrying' when h.due_at > clock_timestamp() then 'scheduled' else 'waiting' end end,
           h.attempt, h.max_attempts, h.at, h.due_at, h.begun_at, h.ended_at, h.session, h.key, h.unique_key, h.content::int,
           h.kind, h.payload, h.headers, h.errors, h.result_content::int, h.result
      from trunkline.job_held h
     where (one is null or h.id = one) and (_job_rows.queue is null or h.lane >> 4 = _job_rows.queue)
    union all
    select r.id, r.lane, r.state, r.attempt, r.max_attempts, r.at, r.at, r.begun_at, r.ended_at, r.session, null, null, r.content,
           r.kind, r.payload, r.headers, '[]'::jsonb, r.result_content, r.result
      from (select * from trunkline._job_rows_e0(one, queue) union all select * from trunkline._job_rows_e1(one, queue)
            union all select * from trunkline._job_rows_d0(one, queue)
            union all select * from trunkline._job_rows_d1(one, queue)) r;
end $$;
