-- Notes that a queue has jobs of a priority now, so that takers look for them. Locks: the queue's row, once a priority.
create or replace function trunkline._job_priority(queue int, priority int) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    update trunkline.job_queue q set priorities = q.priorities | (1 << _job_priority.priority)
     where q.id = _job_priority.queue and q.priorities & (1 << _job_priority.priority) = 0;
end $$;
