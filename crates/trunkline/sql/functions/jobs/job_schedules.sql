-- The schedules, by name. next_at: null while it is paused, or no daemon has worked it out. last_at, last_job: the newest time
-- that was fired, and its job. fires: how many jobs it has pushed at its times. error: why it could not be fired, if so.
create or replace function trunkline.job_schedules()
returns table (name text, queue text, cron text, zone text, missed text, kind text, key text, priority int, max_attempts int,
               paused_at timestamptz, next_at timestamptz, last_at timestamptz, last_job bigint, fires bigint, error text,
               made_at timestamptz)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select s.name, s.queue, s.cron, s.zone, s.missed, s.kind, s.key, s.priority, s.max_attempts, s.paused_at,
           case when s.paused_at is null then s.next_at end, s.last_at, s.last_job, s.fires, s.error, s.made_at
      from trunkline.job_schedule s order by s.name;
end $$;
