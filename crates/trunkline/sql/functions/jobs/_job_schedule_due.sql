-- Schedules whose time has come, or is to be worked out, in the order of their names from after `past` on, at most so many; with
-- this server's time. Not those that are paused, or could not be fired within the last minute.
create or replace function trunkline._job_schedule_due(past text, most int)
returns table (name text, generation bigint, cron text, zone text, missed text, since timestamptz, next_at timestamptz,
               now_at timestamptz)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select s.name, s.generation, s.cron, s.zone, s.missed, s.since, s.next_at, clock_timestamp()
      from trunkline.job_schedule s
     where s.name > past and s.paused_at is null and coalesce(s.next_at <= clock_timestamp(), true)
       and coalesce(s.tried_at <= clock_timestamp() - interval '1 minute', true)
     order by s.name limit most;
end $$;
