-- Whether a held job's key lets it begin: fewer than key_max_running of the key run or come before it, and key_rate_limit is not
-- used up. False when not, and then it is out of the way: it waits behind its key (state 5, with those after it, a thousand
-- at a time) until _job_promote, or for its time. Null where somebody else decides on the key just now.
-- Decided under the key's advisory lock with a fresh snapshot; behind one at a time stands a unique index. The caller has
-- locked the row. Locks: the key, to the commit.
create or replace function trunkline._job_may_begin(queue trunkline.job_queue, lane int, id bigint, key text) returns boolean
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
    v_free timestamptz;
begin
    if not pg_try_advisory_xact_lock(1953656434, hashtext(queue.id || ' ' || key)) then
        return null;
    end if;
    if (select count(*) from trunkline.job_held h where h.lane >> 4 = queue.id and h.key = _job_may_begin.key and h.state = 1)
       + (select count(*) from (select from trunkline.job_held h
                                 where h.lane >> 4 = queue.id and h.key = _job_may_begin.key and h.state in (0, 1, 5)
                                   and h.state <> 1 and h.id < _job_may_begin.id
                                 limit queue.key_max_running) ahead) >= queue.key_max_running then
        update trunkline.job_held h set state = 5
         where h.id in (select b.id from trunkline.job_held b
                         where b.lane >> 4 = queue.id and b.key = _job_may_begin.key and b.state in (0, 1, 5)
                           and b.id >= _job_may_begin.id and b.state = 0 and b.due_at <= (select clock_timestamp())
                         order by b.id limit 1000 for update skip locked);
        perform trunkline._job_promote(lane, key, false);   -- the one before it may wait behind what failed since
        return false;
    elsif queue.key_rate_limit > 0 then
        v_free := trunkline._job_free_at(queue.id, '=' || key, queue.key_rate_limit, queue.key_rate_period);
        if v_free is not null then
            update trunkline.job_held h set due_at = v_free where h.id = _job_may_begin.id;
            return false;
        end if;
    end if;
    return true;
end $$;
