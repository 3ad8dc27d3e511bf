-- The door of a topic: one of 64. Who listens to many, or to wildcards, sleeps on the one for any, -2147483584;
-- who waits for durable ones to be declared, on -2147483583.
-- No pinned search_path, and every name qualified: so the planner reads it into its callers.
create or replace function trunkline._topic_door(topic text) returns int
language sql immutable as $$
    select -2147483648 operator(pg_catalog.+) (pg_catalog.hashtext(topic) operator(pg_catalog.&) 63)
$$;
