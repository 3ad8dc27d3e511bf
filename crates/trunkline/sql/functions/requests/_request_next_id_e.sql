-- The next id of this ring, still without its segment: add 0 or 1. Bit 0 is the segment, bit 1 the ring (1 = durable),
-- so every later statement about a request knows where to look.
create or replace function trunkline._request_next_id_e() returns bigint
language sql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
    select nextval('trunkline.log_id') * 4 + case right('request_e', 1) when 'd' then 2 else 0 end
$$;
