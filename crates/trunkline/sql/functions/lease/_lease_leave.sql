-- Takes those who no longer wait out of their queues, and rings who is first now. Locks: their rows.
create or replace function trunkline._lease_leave(holders uuid[]) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_names text[];
begin
    with gone as (delete from trunkline.lease_waiter w where w.holder = any (holders) returning w.name)
    select array_agg(distinct g.name) into v_names from gone g;
    perform trunkline._lease_tell(u.name) from unnest(v_names) u(name);
end $$;
