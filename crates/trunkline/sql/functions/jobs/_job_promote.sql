-- Lets the next job of a key go, after one of it ended for good. Taken with a fresh snapshot under the key's lock, so that a
-- taker that puts a job behind the key (_job_take_held) is seen, or sees this. Outside READ COMMITTED there are no fresh
-- snapshots: _job_tidy does it then. Locks: the key, to the commit.
create or replace function trunkline._job_promote(lane int, key text) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
    perform pg_advisory_xact_lock(1953656434, hashtext((lane >> 4) || ' ' || key));
    update trunkline.job_held h set state = 0
     where h.state = 5 and h.id = (
           select min(a.id) from trunkline.job_held a
            where a.lane >> 4 = _job_promote.lane >> 4 and a.key = _job_promote.key and a.state in (0, 1, 5));
    perform trunkline._door_ring(-65 - (_job_promote.lane >> 4 & 63));
end $$;
