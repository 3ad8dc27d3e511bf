-- Lets the next jobs of a key go, as many as may run at once, after one of it ended, or to be sure. Each goes to the end of the
-- line of what is due, so that keys take turns; one that could go already only when it is the key's `turn`.
-- Taken with a fresh snapshot under the key's lock, so that a taker that puts a job behind the key (_job_may_begin) is seen, or
-- sees this. Outside READ COMMITTED there are no fresh snapshots: _job_tidy does it then. A row that somebody has locked is
-- passed over: a taker, or who cancels it, decides on it; who replaces it lets it go (_job_hold).
-- Locks: the key, to the commit.
create or replace function trunkline._job_promote(lane int, key text, turn boolean) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_queue int := lane >> 4;
    v_free  int;
begin
    perform pg_advisory_xact_lock(1953656434, hashtext(v_queue || ' ' || key));
    v_free := (select q.key_max_running from trunkline.job_queue q where q.id = v_queue)
            - (select count(*)::int from trunkline.job_held h
                where h.lane >> 4 = v_queue and h.key = _job_promote.key and h.state = 1);
    update trunkline.job_held h set state = 0, due_at = greatest(h.due_at, clock_timestamp())
     where h.id in (
           select l.id from trunkline.job_held l
            where l.id in (select a.id from trunkline.job_held a
                            where a.lane >> 4 = v_queue and a.key = _job_promote.key and a.state in (0, 1, 5) and a.state <> 1
                            order by a.id limit greatest(v_free, 0))
              and (l.state = 5 or turn and l.state = 0 and l.due_at < clock_timestamp())
              for update skip locked);
    perform trunkline._door_ring(-65 - (v_queue & 63));
end $$;
