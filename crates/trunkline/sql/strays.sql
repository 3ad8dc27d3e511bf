-- Drops what an older library installed and this one no longer brings: functions that this transaction has not written anew.
-- Those whose name ends in a number belong to an attached table, and stay.
-- Who uses one in a view of their own is told so, and nothing is changed.
do $$
declare
    v_drop text;
begin
    select string_agg(format('drop %s %s', case prokind when 'p' then 'procedure' else 'function' end, oid::pg_catalog.regprocedure), '; ')
    into v_drop from pg_catalog.pg_proc
    where pronamespace = 'trunkline'::pg_catalog.regnamespace and xmin <> pg_catalog.pg_current_xact_id()::xid
      and proname !~ '_[0-9]+$';
    if v_drop is not null then
        execute v_drop;
    end if;
end $$;
