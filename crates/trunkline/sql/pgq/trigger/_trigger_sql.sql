-- Code that sets `v_data` to the change of a row as a part of an SQL statement; of an UPDATE null, with `v_ignored`, when
-- only columns that are left out have changed.
create or replace function pgq._trigger_sql(relation oid, key text, ignored text, op text) returns text
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_names  text;
    v_values text[];
    v_left   text;
    v_sets   text[];
begin
    if op = 'R' then
        return e'v_data := '''';\n';
    elsif op = 'D' then
        return format(e'v_data := %s;\n', pgq._trigger_key_sql(relation, key, false));
    elsif op = 'I' then
        select string_agg(quote_ident(c.name), ',' order by c.nr),
               array_agg(format('%L, coalesce(pg_catalog.quote_literal(%s), ''null'')',
                                case when c.nr > 1 then ',' else '' end, c.value) order by c.nr)
          into v_names, v_values
          from (select k.name, format(k.value, 'pgq_new') as value, row_number() over () as nr
                  from pgq._trigger_columns(relation, key, ignored) k where not k.is_left_out) c;
        return format(e'v_data := pg_catalog.concat(%L, %s, '')'');\n', '(' || coalesce(v_names, '') || ') values (',
                      pgq._concat(coalesce(v_values, '{}')));
    end if;
    select array_agg(format('case when %s then %L operator(pg_catalog.||) coalesce(pg_catalog.quote_literal(%s), ''NULL'') end',
                            pgq._differs(k.name, k.type), ',' || quote_ident(k.name) || '=', format(k.value, 'pgq_new'))
                     order by k.nr) filter (where not k.is_left_out),
           string_agg(pgq._differs(k.name, k.type), ' or ') filter (where k.is_left_out)
      into v_sets, v_left
      from pgq._trigger_columns(relation, key, ignored) with ordinality k (name, type, is_key, is_left_out, is_magic, value, nr)
     where not k.is_key;
    return format(e'v_data := pg_catalog.substr(%s, 2);\n', pgq._concat(coalesce(v_sets, '{}')))
        || e'if v_data operator(pg_catalog.=) '''' then\n'
        || format(e'v_ignored := %s;\n', coalesce(v_left, 'false'))
        || format(e'v_data := %s;\nend if;\n', pgq._trigger_key_sql(relation, key, true))
        || format(e'v_data := v_data operator(pg_catalog.||) '' where '' operator(pg_catalog.||) (%s);\n',
                  pgq._trigger_key_sql(relation, key, false));
end $$;
