-- The body of a trigger function, with the tree of the calls that it knows.
-- It has no search path, as the options' expressions have the caller's; hence every name in it is qualified.
create or replace function pgq._trigger_body(kind text, tree text) returns text
language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return format($f$
declare
    v_code pg_catalog.text;
    v_skip pg_catalog.bool := false;
begin
    if pg_catalog.current_setting('session_replication_role') operator(pg_catalog.<>) 'local' then
        v_skip := null;
%s        if v_skip is null then
            v_code := pg_catalog.concat('pgq._t_', tg_relid, '_', pg_catalog.to_hex(pg_catalog.hashtext(tg_name::pg_catalog.text)));
            if pg_catalog.to_regproc(v_code) is not null then
                execute pg_catalog.concat('select ', v_code, '($1, $2, $3)') into v_skip using new, old, tg_op;
            end if;
            if v_skip is null then
                v_code := pgq._trigger_learn(tg_relid, tg_name, %s);
                execute pg_catalog.concat('select ', v_code, '($1, $2, $3)') into v_skip using new, old, tg_op;
            end if;
        end if;
    end if;
    if v_skip or tg_when operator(pg_catalog.=) 'AFTER' then
        return null;
    elsif tg_op operator(pg_catalog.=) 'DELETE' then
        return old;
    end if;
    return new;
end $f$, tree, quote_literal(kind));
end $$;
