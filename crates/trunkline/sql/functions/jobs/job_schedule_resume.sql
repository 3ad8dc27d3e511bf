-- Resumes a schedule that was paused: its next time is the first one from now on. False when it was not paused.
-- Errors: 22004, 42704. Locks: the schedule's row.
create or replace function trunkline.job_schedule_resume(name text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    update trunkline.job_schedule s
       set paused_at = null, since = clock_timestamp(), next_at = case when s.next_at > clock_timestamp() then s.next_at end
     where s.name = (trunkline._job_schedule_named(job_schedule_resume.name)).name and s.paused_at is not null;
    if not found then
        return false;
    end if;
    perform trunkline._door_ring(-129);
    return true;
end $$;
