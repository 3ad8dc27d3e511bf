-- Queues with how many jobs each has in each state, the age of the oldest that could run, and settings. Reads all jobs.
create or replace function trunkline.job_queues()
returns table (queue text, durable boolean, paused_at timestamptz, waiting bigint, scheduled bigint, running bigint,
               retrying bigint, done bigint, dead bigint, cancelled bigint, oldest interval, max_running int, max_attempts int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select q.name, q.durable, q.paused_at, count(*) filter (where r.state = 'waiting'),
           count(*) filter (where r.state = 'scheduled'), count(*) filter (where r.state = 'running'),
           count(*) filter (where r.state = 'retrying'), count(*) filter (where r.state = 'done'),
           count(*) filter (where r.state = 'dead'), count(*) filter (where r.state = 'cancelled'),
           clock_timestamp() - min(r.due_at) filter (where r.state in ('waiting', 'retrying') and r.due_at <= clock_timestamp()),
           q.max_running, q.max_attempts
      from trunkline.job_queue q left join trunkline._job_rows(null, null) r on r.lane >> 4 = q.id
     group by q.id order by q.name;
end $$;
