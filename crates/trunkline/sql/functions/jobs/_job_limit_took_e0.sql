-- After the short way of a queue with a max_running: that so many jobs began counts for its rate_limit, and that jobs of these slices
-- have ended is rung for. The number again. Locks: the caller holds the queue's.
create or replace function trunkline._job_limit_took_e0(queue int, began int, slices bigint[]) returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    if began > 0 then
        perform trunkline._job_begin(q.id, '', q.rate_period, began)
           from trunkline.job_queue q where q.id = _job_limit_took_e0.queue and q.rate_limit > 0;
    end if;
    if cardinality(slices) > 0 then
        perform trunkline._job_freed_e0(slices);
    end if;
    return began;
end $$;
