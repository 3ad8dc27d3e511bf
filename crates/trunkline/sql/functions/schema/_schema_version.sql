-- The installed schema's version; any library compares it with its own before it does anything else.
create or replace function trunkline._schema_version() returns int
language sql stable security definer set search_path = pg_catalog, trunkline, pg_temp as $$
    select version from trunkline.schema_info
$$;
