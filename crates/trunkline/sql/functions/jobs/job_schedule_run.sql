-- Pushes a schedule's job now, in the caller's own transaction: its id. Its next time stays as it is, and it may be paused. Header
-- scheduled_at is now. Errors: 22004, 42704; those of job_push. Locks: none beyond the push.
create or replace function trunkline.job_schedule_run(name text) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v trunkline.job_schedule := trunkline._job_schedule_named(job_schedule_run.name);
begin
    return (trunkline._job_schedule_push(v, array[clock_timestamp()]))[1];
end $$;
