-- The body of the function that does the work of a trigger on a table as it is now.
create or replace function pgq._trigger_code(relation oid, trigger_name text, kind text) returns text
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_trigger record;
    v_op      record;
    v_code    text;
begin
    select tgtype as type, pgq._trigger_args(tgargs) as args into strict v_trigger
      from pg_trigger where tgrelid = relation and tgname = trigger_name;
    v_code := format($f$
declare
    v_data    pg_catalog.text;
    v_type    pg_catalog.oid;
    v_value   pg_catalog.text;
    v_ignored pg_catalog.bool := false;
begin
if coalesce(pgq._shape(%s::pg_catalog.regclass, %s), '') operator(pg_catalog.<>) %s then return null; end if;
$f$, quote_literal(relation), quote_literal(trigger_name), quote_literal(pgq._shape(relation::regclass, trigger_name)));
    for v_op in
        select * from (values ('INSERT', 'I', 4), ('UPDATE', 'U', 16), ('DELETE', 'D', 8), ('TRUNCATE', 'R', 32)) o (name, code, bit) loop
        if v_trigger.type & v_op.bit > 0 then
            v_code := v_code || format(e'if pgq_op operator(pg_catalog.=) %L then\n', v_op.name)
                || pgq._trigger_block(kind, relation, v_trigger.type, v_trigger.args, v_op.code)
                || format(e'return %s;\nend if;\n', case when 'SKIP' = any (v_trigger.args[2:]) then 'true' else 'false' end);
        end if;
    end loop;
    return v_code || 'end';
end $$;
