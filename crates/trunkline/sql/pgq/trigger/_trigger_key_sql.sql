-- SQL for the condition that finds a row by its key, as `sqltriga` writes it; for the first column of the key alone if asked.
-- Its value is null when a part of the key is.
create or replace function pgq._trigger_key_sql(relation oid, key text, only_first boolean) returns text
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_sql text;
begin
    select string_agg(format('%L operator(pg_catalog.||) pg_catalog.quote_literal(%s)',
                             case when c.nr > 1 then ' and ' else '' end || quote_ident(c.name) || '=', c.value),
                      ' operator(pg_catalog.||) ' order by c.nr)
      into v_sql
      from (select k.name, format(k.value, 'pgq_old') as value, row_number() over () as nr
              from pgq._trigger_columns(relation, key, null) k where k.is_key) c
     where c.nr = 1 or not only_first;
    return coalesce(v_sql, case when only_first then 'null::pg_catalog.text' else '''''' end);
end $$;
