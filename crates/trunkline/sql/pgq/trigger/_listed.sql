-- Whether a name is in a list whose names are set off by commas or white space.
create or replace function pgq._listed(list text, name text) returns boolean
language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return coalesce(strpos(',' || regexp_replace(list, '\s', ',', 'g') || ',',
                           ',' || regexp_replace(name, '\s', ',', 'g') || ',') > 0, false);
end $$;
