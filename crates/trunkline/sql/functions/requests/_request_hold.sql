-- Holds a lane's key for a responder that was registered, and committed: see _request_served. Once for each registration of
-- a connection. Not for SQL, whose transaction may yet roll back: its responders are found in the registry.
create or replace function trunkline._request_hold(lane int) returns boolean
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return pg_try_advisory_lock_shared(1953656432, lane);
end $$;
