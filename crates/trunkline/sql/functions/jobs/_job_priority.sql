-- Notes that a queue has jobs of a priority now, so that takers look for them. A row that this transaction's snapshot cannot
-- see is there all the same. Waits for another transaction that notes the same for the first time. Locks: none beyond the insert.
create or replace function trunkline._job_priority(queue int, priority int) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_variable
begin
    if priority <> 5 and not exists (select from trunkline.job_priority p
                                      where p.queue = _job_priority.queue and p.priority = _job_priority.priority) then
        insert into trunkline.job_priority values (queue, priority) on conflict do nothing;
    end if;
exception when serialization_failure then
    null;
end $$;
