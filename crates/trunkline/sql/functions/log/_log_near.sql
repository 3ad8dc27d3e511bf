-- Is the oldest transaction in progress in a snapshot so near to its end that reading over those between costs nothing?
-- Read into its callers by the planner: no pinned search_path, every name qualified.
create or replace function trunkline._log_near(taken pg_snapshot) returns boolean
language sql immutable as $$
    select pg_catalog.pg_snapshot_xmax(taken)::pg_catalog.text::pg_catalog.int8
           operator(pg_catalog.-) pg_catalog.pg_snapshot_xmin(taken)::pg_catalog.text::pg_catalog.int8
           operator(pg_catalog.<=) 64
$$;
