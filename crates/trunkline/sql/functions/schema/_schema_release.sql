-- Which functions are installed, by their fingerprint, and the version of the library that brought them.
create or replace function trunkline._schema_release(out functions text, out library text)
language sql stable security definer set search_path = pg_catalog, trunkline, pg_temp as $$
    select i.functions, i.library from trunkline.schema_info i
$$;
