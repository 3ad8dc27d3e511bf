-- Is somebody here who serves this lane? Every engine that serves it holds the lane's key shared, so the usual answer is one
-- failed try for it. Testers take turns by a key of their own, so that none takes another for a responder; where
-- they meet, or nobody holds the key, the registry is asked. No pinned search_path, and every name qualified: so the planner
-- reads it into its callers. Locks: both keys, for microseconds.
create or replace function trunkline._request_served(lane int) returns boolean
language sql volatile as $$
    select case when not pg_catalog.pg_try_advisory_lock(1953656433, lane) then trunkline._request_present(lane)
                when pg_catalog.pg_try_advisory_lock(1953656432, lane)
                then pg_catalog.pg_advisory_unlock(1953656432, lane) and pg_catalog.pg_advisory_unlock(1953656433, lane)
                     and trunkline._request_present(lane)
                else pg_catalog.pg_advisory_unlock(1953656433, lane) end
$$;
