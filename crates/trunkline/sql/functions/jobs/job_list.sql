-- Jobs, the newest first, at most `max`; of a queue, in a state, of a kind, with a key, with a JSON payload that contains this, and
-- with an id below `before`, each where given; with an id above `after` the oldest first, from there on. state: waiting, scheduled,
-- running, retrying, done, dead or cancelled. error: of the last attempt that failed.
-- Done jobs of the ring are seen until their segment is emptied. Reads all of the rings: no query for a loop.
-- Errors: 42704 no such queue, 22023 no such state.
create or replace function trunkline.job_list(queue text default null, state text default null, kind text default null,
    key text default null, max int default 100, before bigint default null, after bigint default null, payload jsonb default null)
returns table (id bigint, queue_name text, job_kind text, job_state text, priority int, job_key text, attempt int,
               max_attempts int, pushed_at timestamptz, due_at timestamptz, begun_at timestamptz, ended_at timestamptz,
               worker text, error text)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp set jit = off as $$
#variable_conflict use_column
begin
    if job_list.state not in ('waiting', 'scheduled', 'running', 'retrying', 'done', 'dead', 'cancelled') then
        raise exception 'there is no state "%" of a job', left(job_list.state, 100) using errcode = '22023';
    end if;
    return query
    select r.id, q.name, r.kind, r.state, r.lane & 15, r.key, r.attempt, r.max_attempts, r.at, r.due_at, r.begun_at, r.ended_at,
           s.application, r.errors -> -1 ->> 'error'
      from trunkline._job_rows(null, case when job_list.queue is not null then (trunkline._job_named(job_list.queue)).id end) r
      join trunkline.job_queue q on q.id = r.lane >> 4
      left join trunkline.session s on s.id = r.session and r.state = 'running'
     where (job_list.state is null or r.state = job_list.state) and (job_list.kind is null or r.kind = job_list.kind)
       and (job_list.key is null or r.key = job_list.key) and (job_list.before is null or r.id < job_list.before)
       and (job_list.after is null or r.id > job_list.after)
       and (job_list.payload is null
            or r.content = 2 and trunkline._request_headers(trunkline._request_text(r.payload)) @> job_list.payload)
     order by case when job_list.after is null then -r.id else r.id end limit job_list.max;
end $$;
