-- Makes a schedule that pushes a job of text at the times of a cron expression, or replaces the one of this name: true. The
-- same definition again changes nothing: false; so call it at every start. It begins with the commit; a daemon fires it.
-- cron: minute hour day month weekday, seconds before them if you like, or @hourly, @daily and so on; by the clock of `zone`.
-- missed: what becomes of times for which nobody was there: 'skip' those over a minute ago, 'one' job for the newest, or 'all'.
-- kind, key, priority, max_attempts, headers: of its jobs; headers are added that tell the schedule, and scheduled_at.
-- Other settings than cron and zone leave the next time as it is. That the expression and the zone mean something the
-- daemon finds: see `error` in job_schedules. Errors: 22004, 22023; TL004 payload too large; TL011 a reserved name.
-- Locks: the schedule's row, unless nothing changes.
create or replace function trunkline.job_schedule(name text, queue text, cron text, payload text default '', kind text default '',
    zone text default 'UTC', missed text default 'one', key text default null, priority int default 5,
    max_attempts int default null, headers jsonb default null) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return trunkline._job_schedule(name, queue, cron, zone, missed, 1, convert_to(payload, 'UTF8'), kind, key, priority,
                                   max_attempts, headers::text);
end $$;
