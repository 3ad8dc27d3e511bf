-- Leaves a door that _door_hold took: producers no longer ring for this session. True when it was held.
create or replace function trunkline._door_leave(door int) returns boolean
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return pg_advisory_unlock_shared(1953656427, door);
end $$;
