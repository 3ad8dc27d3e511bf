-- The door of a lane: one of 64 for all lanes; a session's replies have a door of their own, 64 + its id.
create or replace function trunkline._request_door(lane int) returns int
language sql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
    select lane & 63
$$;
