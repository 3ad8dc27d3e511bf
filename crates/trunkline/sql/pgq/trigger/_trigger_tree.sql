-- The part of a trigger function that finds the call for a table and a trigger, for these (table, trigger, function), tables rising.
create or replace function pgq._trigger_tree(calls text[], indent text) returns text
language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_count  int := coalesce(array_length(calls, 1), 0);
    v_middle int := v_count / 2;
begin
    if v_count = 0 then
        return '';
    elsif v_count = 1 then
        return indent || format('if tg_relid operator(pg_catalog.=) %s::pg_catalog.oid and tg_name operator(pg_catalog.=) %L then'
                                ' v_skip := pgq.%I(new, old, tg_op); end if;', calls[1][1], calls[1][2], calls[1][3]) || e'\n';
    end if;
    return indent || format(e'if tg_relid operator(pg_catalog.<) %s::pg_catalog.oid then\n', calls[v_middle + 1][1])
        || pgq._trigger_tree(calls[1:v_middle], indent || '    ')
        || indent || case when calls[v_middle][1] = calls[v_middle + 1][1] then e'end if;\n' else e'else\n' end
        || pgq._trigger_tree(calls[v_middle + 1:v_count], indent || '    ')
        || case when calls[v_middle][1] = calls[v_middle + 1][1] then '' else indent || e'end if;\n' end;
end $$;
