-- The code of a trigger for one kind of change.
create or replace function pgq._trigger_block(kind text, relation oid, trigger_type integer, args text[], op text) returns text
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_table   record;
    v_own     text := pgq._trigger_option(args, 'pkey');
    v_ignored text := pgq._trigger_option(args, 'ignore');
    v_row     text := case op when 'D' then 'pgq_old' else 'pgq_new' end;
    v_error   text;
    v_fields  text[];
    v_code    text := '';
    v_columns text[];
    v_expr    text;
begin
    select n.nspname::text as schema_name, c.relname::text as name, n.nspname || '.' || c.relname as full_name,
           coalesce(v_own, pgq._trigger_key(relation)) as key
      into v_table from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = relation;
    v_error := pgq._trigger_error(v_table.full_name, trigger_type, args, v_table.key, op);
    if v_error is not null then
        return format(e'raise exception using message = %L, errcode = ''XX000'';\n', v_error);
    end if;
    v_fields := array[quote_literal(pgq._trigger_type(kind, v_table.schema_name, v_table.name, v_table.key, v_own, op)),
                      'v_data', quote_literal(v_table.full_name), 'null', 'null', 'null'];
    if op = 'U' then
        v_code := pgq._trigger_check(kind, relation, v_table.key, v_ignored);
        if 'backup' = any (args[2:]) then
            v_fields[4] := pgq._trigger_row(case kind when 'sqltriga' then 'logutriga' else kind end, relation, v_ignored, 'pgq_old');
        end if;
    end if;
    v_fields[2] := case when kind = 'sqltriga' then 'v_data' when op <> 'R' then pgq._trigger_row(kind, relation, v_ignored, v_row)
                        when kind = 'jsontriga' then '''{}''' else '''''' end;
    if kind = 'sqltriga' then
        v_code := v_code || pgq._trigger_sql(relation, v_table.key, v_ignored, op)
            || e'if v_data is null and not v_ignored then'
               ' raise exception ''logtriga: Unexpected NULL key value'' using errcode = ''XX000''; end if;\n';
    end if;
    v_columns := array(select attname::text from pg_attribute
                        where attrelid = relation and attnum > 0 and not attisdropped order by attnum);
    v_code := v_code || e'if not v_ignored then\n';
    for v_index in 1 .. 6 loop
        exit when op = 'R';
        v_expr := (array['type', 'data', 'extra1', 'extra2', 'extra3', 'extra4'])[v_index];
        if '_pgq_ev_' || v_expr = any (v_columns) then
            v_fields[v_index] := (select format(value, v_row)
                                    from pgq._trigger_columns(relation, null, null) where name = '_pgq_ev_' || v_expr);
        end if;
        v_expr := pgq._trigger_option(args, 'ev_' || v_expr);
        if v_expr is not null then
            v_fields[v_index] := format(e'(select case when pgq_x.v is not null then pg_catalog.concat(pgq_x.v) end'
                                          ' from (select %s\n) pgq_x (v))',
                                        pgq._trigger_expression(v_expr, v_columns, v_row));
        end if;
    end loop;
    return v_code || pgq._trigger_magic(v_columns)
        || pgq._trigger_when(pgq._trigger_expression(pgq._trigger_option(args, 'when'), v_columns, v_row))
        || format(e'perform pgq.insert_event(%L, %s);\n', args[1], array_to_string(v_fields, ', ')) || e'end if;\nend if;\n';
end $$;
