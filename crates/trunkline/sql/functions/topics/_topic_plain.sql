-- Is this a topic's name? 1 to 200 bytes: words of letters, digits, "_", "-", ":" and "/", with dots between them.
-- No pinned search_path, and every name qualified: so the planner reads it into its callers, which are on the hot path.
create or replace function trunkline._topic_plain(name text) returns boolean
language sql immutable as $$
    select pg_catalog.octet_length(name) operator(pg_catalog.<=) 200
       and name operator(pg_catalog.~) '^[A-Za-z0-9_:/-]+([.][A-Za-z0-9_:/-]+)*$'
$$;
