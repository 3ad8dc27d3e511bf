-- The columns of a table's primary key, in its order; an empty array when it has none.
create or replace function trunkline._stream_key_columns(of_table oid) returns text[]
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return array(select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
                  where i.indrelid = of_table and i.indisprimary order by array_position(i.indkey::int2[], a.attnum));
end $$;
