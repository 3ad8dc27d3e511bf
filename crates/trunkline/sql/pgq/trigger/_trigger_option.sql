-- What follows `name=` among a trigger's arguments; null where that is not given. The first of several counts for an expression,
-- the last for a list of columns.
create or replace function pgq._trigger_option(args text[], name text) returns text
language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return (
        select substr(a.arg, length(name) + 2)
          from unnest(args[2:]) with ordinality a (arg, nr) where starts_with(a.arg, name || '=')
         order by case when name in ('ignore', 'pkey') then -a.nr else a.nr end limit 1);
end $$;
