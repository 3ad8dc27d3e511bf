-- The type of an event of a trigger, for one kind of change.
create or replace function pgq._trigger_type(kind text, schema_name text, table_name text, key text, own_key text, op text) returns text
language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp as $$
begin
    if kind = 'jsontriga' then
        return format('{"op":"%s","table":[%s,%s],"pkey":[%s]}',
                      case op when 'I' then 'INSERT' when 'U' then 'UPDATE' when 'D' then 'DELETE' else 'TRUNCATE' end,
                      to_json(schema_name), to_json(table_name),
                      case when own_key is not null
                           then (select string_agg(to_json(k)::text, ',') from regexp_split_to_table(own_key, ',') k)
                           when key <> '' then (select string_agg(to_json(k)::text, ',') from unnest(string_to_array(key, ',')) k) end);
    elsif kind = 'logutriga' and op <> 'R' then
        return op || ':' || key;
    end if;
    return op;
end $$;
