-- Resumes a queue that was paused, and wakes its workers. False when it was not paused. Errors: 42704. Locks: the queue's row.
create or replace function trunkline.job_resume(queue text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_id int := (trunkline._job_named(queue)).id;
begin
    update trunkline.job_queue q set paused_at = null where q.id = v_id and q.paused_at is not null;
    if not found then
        return false;
    end if;
    perform trunkline._door_ring(-65 - (v_id & 63));
    return true;
end $$;
