-- The name of the function that does the work of a trigger on a table.
create or replace function pgq._trigger_name(relation oid, trigger_name name) returns name
language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return concat('_t_', relation, '_', to_hex(hashtext(trigger_name::text)));
end $$;
