-- Puts the calls of functions into the trigger functions that were written while somebody else wrote these.
create or replace function pgq._trigger_catch_up() returns void
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    if exists (
        select from pg_trigger t
          join pg_proc g on g.oid = t.tgfoid and g.pronamespace = 'pgq'::regnamespace
                        and g.proname in ('jsontriga', 'logutriga', 'sqltriga')
          join pg_proc p on p.pronamespace = 'pgq'::regnamespace and p.proname = pgq._trigger_name(t.tgrelid, t.tgname)
         where strpos(g.prosrc, p.proname) = 0)
    then
        perform pgq._dispatch_triggers();
    end if;
end $$;
