-- Makes a schedule that pushes a job of JSON at the times of a cron expression, or replaces the one of this name. As
-- job_schedule.
create or replace function trunkline.job_schedule_json(name text, queue text, cron text, payload jsonb, kind text default '',
    zone text default 'UTC', missed text default 'one', key text default null, priority int default 5,
    max_attempts int default null, headers jsonb default null) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return trunkline._job_schedule(name, queue, cron, zone, missed, 2, convert_to(payload::text, 'UTF8'), kind, key, priority,
                                   max_attempts, headers::text);
end $$;
