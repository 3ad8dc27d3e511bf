-- SQL for a whole row (`pgq_new` or `pgq_old`) as a kind of trigger writes it: JSON, or urlencoded.
create or replace function pgq._trigger_row(kind text, relation oid, ignored text, row_name text) returns text
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_pieces text[] := array[]::text[];
    v_comma  text := '';
    v_column record;
    v_value  text;
begin
    for v_column in select * from pgq._trigger_columns(relation, null, ignored) where not is_left_out loop
        v_value := format(v_column.value, row_name);
        if kind = 'jsontriga' then
            if v_column.type in ('timestamp'::regtype, 'timestamptz'::regtype, 'date'::regtype) then
                v_value := format('pg_catalog.to_json(%s)::pg_catalog.text', pgq._field(row_name, v_column.name));
            elsif v_column.type = 'bool'::regtype then
                v_value := pgq._field(row_name, v_column.name) || '::pg_catalog.text';
            elsif v_column.type not in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) then
                v_value := format('pg_catalog.to_json(%s)::pg_catalog.text', v_value);
            end if;
            v_pieces := v_pieces || quote_literal(v_comma || to_json(v_column.name) || ':') || format('coalesce(%s, ''null'')', v_value);
            v_comma := ',';
        else
            if v_column.type not in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'bool'::regtype, 'numeric'::regtype,
                                     'uuid'::regtype, 'oid'::regtype) then
                v_value := format('pgq._urlencode(%s)', v_value);
            end if;
            v_pieces := v_pieces || quote_literal(v_comma || pgq._urlencode(v_column.name))
                || format('''='' operator(pg_catalog.||) %s', case when v_value like 'case %' then '(' || v_value || ')' else v_value end);
            v_comma := '&';
        end if;
    end loop;
    if kind = 'jsontriga' then
        v_pieces := array['''{'''] || v_pieces || array['''}'''];
    end if;
    return pgq._concat(v_pieces);
end $$;
