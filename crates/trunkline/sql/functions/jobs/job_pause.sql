-- Pauses a queue: nothing more is taken from it, what runs goes on, and pushes go in as before. False when it was paused.
-- Errors: 42704. Locks: the queue's row.
create or replace function trunkline.job_pause(queue text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    update trunkline.job_queue q set paused_at = clock_timestamp()
     where q.id = (trunkline._job_named(queue)).id and q.paused_at is null;
    return found;
end $$;
