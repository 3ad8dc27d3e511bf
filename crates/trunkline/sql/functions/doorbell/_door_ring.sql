-- Wakes whoever sleeps on a door, when this transaction commits; does nothing where nobody sleeps.
-- A sleeper holds the door's advisory lock shared. The producer, AFTER its insert has drawn an xid, tries it exclusive
-- and lets go at once: only a failed try notifies. Two producers that meet here ring falsely, which is harmless.
-- `set trunkline.ring = off` (two-phase commit forbids NOTIFY) leaves the wake-up to the sleepers' polls.
-- Locks: the door, for microseconds. Safe at every isolation level: advisory locks have no snapshot.
create or replace function trunkline._door_ring(door int) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if pg_try_advisory_lock(1953656427, door) then
        perform pg_advisory_unlock(1953656427, door);
    elsif current_setting('trunkline.ring', true) is distinct from 'off' then
        perform pg_notify('trunkline_' || door, '');
    end if;
end $$;
