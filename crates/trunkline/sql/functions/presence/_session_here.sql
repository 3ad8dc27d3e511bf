-- Is the process of this session row here? It has not expired and, where watched, its presence lock is held.
-- A stranger who holds the key can only delay the answer until the expiry. Locks: the presence key, for microseconds.
-- No pinned search_path, and every name qualified: so the planner reads it into its callers.
create or replace function trunkline._session_here(id int, pid int, watched boolean, expires_at timestamptz) returns boolean
language sql volatile as $$
    select case when expires_at operator(pg_catalog.<=) pg_catalog.clock_timestamp() then false
                when not watched or pid operator(pg_catalog.=) pg_catalog.pg_backend_pid() then true
                when pg_catalog.pg_try_advisory_lock_shared(1953656428, id)
                then not pg_catalog.pg_advisory_unlock_shared(1953656428, id)
                else true end
$$;
