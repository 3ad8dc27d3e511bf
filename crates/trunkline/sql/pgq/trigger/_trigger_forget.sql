-- Removes functions that were written for tables that are gone, or by sessions for themselves for this one.
-- What another session removes at the same time is let be.
create or replace function pgq._trigger_forget(relation oid) returns void
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_name text;
begin
    for v_name in
        select p.proname from pg_proc p cross join lateral regexp_match(p.proname, '^_t_([0-9]+)_[0-9a-f]+(_([0-9]+)_[0-9a-f]+)?$') m
         where p.pronamespace = 'pgq'::regnamespace and p.proname like '\_t\_%'
           and (not exists (select from pg_class c where c.oid = m[1]::oid)
                or m[1]::oid = relation and m[3] is not null
                   and not exists (select from pg_stat_activity a where a.pid = m[3]::int))
    loop
        if pg_try_advisory_xact_lock(1953656431, 0) then
            execute format('drop function if exists pgq.%I(record, record, text)', v_name);
        end if;
    end loop;
end $$;
