-- How many more held jobs of a queue may be taken now, `most` at most: by its max_running, counted, and its rate_limit, both
-- under the queue's advisory lock, to the commit. 0 where somebody else holds that just now.
create or replace function trunkline._job_room(queue trunkline.job_queue, most int) returns int
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    v_room int := most;
begin
    if queue.max_running = 0 and queue.rate_limit = 0 then
        return most;
    elsif not pg_try_advisory_xact_lock(1953656433, queue.id) then
        return 0;
    end if;
    if queue.max_running > 0 then
        v_room := least(v_room, queue.max_running - (select count(*)::int from trunkline.job_held h
                                                      where h.lane >> 4 = queue.id and h.state = 1));
    end if;
    if queue.rate_limit > 0 then
        v_room := least(v_room, queue.rate_limit - trunkline._job_begun(queue.id, '', queue.rate_period));
    end if;
    return greatest(v_room, 0);
end $$;
