-- Lets the next jobs of a key go, after one of it ended, or to be sure: see _job_promote_all. Taken with a fresh snapshot under the
-- key's lock, so that a taker that puts a job behind the key (_job_may_begin) is seen, or sees this. Outside READ COMMITTED there
-- are no fresh snapshots: _job_tidy does it then. A row that somebody has locked is passed over: a taker, or who cancels it,
-- decides on it; who replaces it lets it go (_job_hold). Locks: the key, to the commit.
create or replace function trunkline._job_promote(lane int, key text, turn boolean) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    perform pg_advisory_xact_lock(1953656434, hashtext((lane >> 4) || ' ' || key));
    perform trunkline._job_promote_all(array[lane], array[key], turn);
end $$;
