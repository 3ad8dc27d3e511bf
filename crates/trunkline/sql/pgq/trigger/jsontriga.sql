-- The trigger that puts a change of a row into a queue as JSON. Arguments: the queue, then options in any order.
-- The work is done by a function written for this trigger on this table (`_trigger_learn`), which says whether the row's own
-- change is to be passed over; null from it: the table or the trigger is another than it was written for.
-- Without a search path, as the options' expressions have the caller's; hence every name here is qualified.
create or replace function pgq.jsontriga() returns trigger
language plpgsql volatile as $$
declare
    v_code pg_catalog.text;
    v_skip pg_catalog.bool := false;
begin
    if pg_catalog.current_setting('session_replication_role') operator(pg_catalog.<>) 'local' then
        v_code := pg_catalog.concat('pgq._t_', tg_relid, '_', pg_catalog.to_hex(pg_catalog.hashtext(tg_name::pg_catalog.text)));
        v_skip := null;
        if pg_catalog.to_regproc(v_code) is not null then
            execute pg_catalog.concat('select ', v_code, '($1, $2, $3)') into v_skip using new, old, tg_op;
        end if;
        if v_skip is null then
            v_code := pgq._trigger_learn(tg_relid, tg_name, 'jsontriga');
            execute pg_catalog.concat('select ', v_code, '($1, $2, $3)') into v_skip using new, old, tg_op;
        end if;
    end if;
    if v_skip or tg_when operator(pg_catalog.=) 'AFTER' then
        return null;
    elsif tg_op operator(pg_catalog.=) 'DELETE' then
        return old;
    end if;
    return new;
end $$;
