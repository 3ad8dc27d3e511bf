-- Pauses a schedule: times that come while it is paused are not fired, and are not missed either. False when it was paused.
-- Errors: 22004, 42704. Locks: the schedule's row.
create or replace function trunkline.job_schedule_pause(name text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    update trunkline.job_schedule s set paused_at = clock_timestamp()
     where s.name = (trunkline._job_schedule_named(job_schedule_pause.name)).name and s.paused_at is null;
    return found;
end $$;
