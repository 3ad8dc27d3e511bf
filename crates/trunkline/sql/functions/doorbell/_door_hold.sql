-- Begins to sleep on a door: true when the door is held, so that every later producer rings.
-- False while a producer is testing it, or a stranger holds its key: poll and try again. LISTEN comes before this.
-- The hand-over is not finished by holding: see _door_unsettled. Locks: the door, shared, for the session.
create or replace function trunkline._door_hold(door int) returns boolean
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return pg_try_advisory_lock_shared(1953656427, door);
end $$;
