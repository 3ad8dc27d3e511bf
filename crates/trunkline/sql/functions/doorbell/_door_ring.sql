-- Wakes whoever sleeps on a door, when this transaction commits; does nothing where nobody sleeps. True when it rang.
-- A sleeper holds the door's advisory lock shared. The producer draws an xid, and AFTER that tries it exclusive and lets
-- go at once: only a failed try notifies. Two producers that meet here ring falsely, which is harmless.
-- `set trunkline.ring = off` (two-phase commit forbids NOTIFY) leaves the wake-up to the sleepers' polls.
-- Locks: the door, for microseconds. Safe at every isolation level: advisory locks have no snapshot.
-- No pinned search_path, and every name qualified: so the planner reads it into its callers, which are on the hot path.
create or replace function trunkline._door_ring(door int) returns boolean
language sql volatile as $$
    select case when pg_catalog.pg_current_xact_id() is null then false
                when pg_catalog.pg_try_advisory_lock(1953656427, door)
                then not pg_catalog.pg_advisory_unlock(1953656427, door)
                when pg_catalog.current_setting('trunkline.ring', true) operator(pg_catalog.=) 'off' then false
                else pg_catalog.pg_notify(pg_catalog.concat('trunkline_', door), '') is not null end
$$;
