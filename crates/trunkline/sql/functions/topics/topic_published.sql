-- A number that grows by one with each volatile message, those of transactions that rolled back included: what is published per second
-- is the difference of two. It jumps when the ring is made anew, after a crash of the server.
create or replace function trunkline.topic_published() returns bigint
language sql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
    select last_value from trunkline.topic_id
$$;
