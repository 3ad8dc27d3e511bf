-- Whether nobody has taken from a queue with a max_running since the take that was its `turn`, while its settings were `version`; then
-- nobody does before the commit. So what the taker counted then, less what it took and more of its own that has ended since, may
-- begin still. Asked within the short way (sql/direct/job_limited.sql), whose own snapshot may be older than this lock: each statement
-- here takes a new one. Locks: the queue's advisory lock, to the commit; false where somebody else has it.
create or replace function trunkline._job_limit_mine(queue int, turn bigint, version text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
    if not pg_try_advisory_xact_lock(1953656433, _job_limit_mine.queue) then
        return false;
    end if;
    return (select l.turn from trunkline.job_limited l where l.queue = _job_limit_mine.queue order by l.turn desc limit 1)
               = _job_limit_mine.turn
       and (select q.xmin::text from trunkline.job_queue q where q.id = _job_limit_mine.queue) = _job_limit_mine.version;
end $$;
