-- Lets the next jobs of a key go, as many as may run at once, after one of it ended, or to be sure. Each goes to the end of the
-- line of what is due, so that keys take turns. Taken with a fresh snapshot under the key's lock, so that a taker that puts
-- a job behind the key (_job_may_begin) is seen, or sees this. Outside READ COMMITTED there are no fresh snapshots:
-- _job_tidy does it then. Locks: the key, to the commit.
create or replace function trunkline._job_promote(lane int, key text) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
    perform pg_advisory_xact_lock(1953656434, hashtext((lane >> 4) || ' ' || key));
    update trunkline.job_held h set state = 0, due_at = greatest(h.due_at, clock_timestamp())
     where (h.state = 5 or h.state = 0 and h.due_at < clock_timestamp()) and h.id in (
           select a.id from trunkline.job_held a
            where a.lane >> 4 = _job_promote.lane >> 4 and a.key = _job_promote.key and a.state in (0, 1, 5)
            order by a.state <> 1, a.id
            limit (select q.key_max_running from trunkline.job_queue q where q.id = _job_promote.lane >> 4));
    perform trunkline._door_ring(-65 - (_job_promote.lane >> 4 & 63));
end $$;
