-- The names of the columns of a table's primary key, in the order of its index, with a comma between them; empty for none.
create or replace function pgq._trigger_key(relation oid) returns text
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return coalesce((
        select string_agg(k.attname, ',' order by k.attnum)
          from pg_index i join pg_attribute k on k.attrelid = i.indexrelid and k.attnum > 0 and not k.attisdropped
         where i.indrelid = relation and i.indisprimary), '');
end $$;
