-- Code that begins a block, for the changes that a trigger's condition is true of; for all of them without one.
create or replace function pgq._trigger_when(condition text) returns text
language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp as $$
begin
    if condition is null then
        return e'if true then\n';
    end if;
    return format(e'select pg_catalog.pg_typeof(pgq_x.v)::pg_catalog.oid, pg_catalog.concat(pgq_x.v) into v_type, v_value'
                  ' from (select %s\n) pgq_x (v);\n',
                  condition)
        || e'if v_type operator(pg_catalog.<>) 16 then'
           ' raise exception ''when= query result must be boolean, got=%'', v_type using errcode = ''XX000'';\n'
        || e'elsif v_value operator(pg_catalog.=) '''' then'
           ' raise exception ''when= should not be NULL'' using errcode = ''XX000''; end if;\n'
        || e'if v_value operator(pg_catalog.=) ''t'' then\n';
end $$;
