-- Writes the three trigger functions anew: a tree of comparisons over the tables' ids, with a plain call of the function that was
-- written for the trigger at each leaf. What is not in the tree is called by EXECUTE, which costs a third of it all.
-- Locks: an advisory key, tried only, for two must not replace the same functions at once: false where it was not had.
create or replace function pgq._dispatch_triggers() returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_kind  text;
    v_calls text[][];
begin
    if not pg_try_advisory_xact_lock(1953656431, -1) then
        return false;
    end if;
    foreach v_kind in array array['jsontriga', 'logutriga', 'sqltriga'] loop
        select array_agg(array[t.tgrelid::text, t.tgname::text, p.proname::text] order by t.tgrelid, t.tgname) into v_calls
          from pg_trigger t join pg_proc p on p.pronamespace = 'pgq'::regnamespace and p.proname = pgq._trigger_name(t.tgrelid, t.tgname)
         where t.tgfoid = to_regproc('pgq.' || v_kind);
        execute format('create or replace function pgq.%I() returns trigger language plpgsql volatile as %L',
                       v_kind, pgq._trigger_body(v_kind, pgq._trigger_tree(v_calls, '        ')));
    end loop;
    return true;
end $$;
