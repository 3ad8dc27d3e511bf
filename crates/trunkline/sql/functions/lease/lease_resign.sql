-- Asks whoever holds a lease to resign: true when somebody holds it. A holder of the library is told at once; one in plain SQL sees
-- it in lease_list. With force the fence is taken away at once: the holder's guarded effects are refused from the commit on, and
-- another may begin before this one has stopped.
-- Errors: 22004, 42704 for a name that was never held. Locks: the lease's rows; with force it waits for guards' transactions.
create or replace function trunkline.lease_resign(name text, force boolean default false) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v trunkline.lease_expiry;
begin
    perform trunkline._lease_check(lease_resign.name, 'lease_resign');
    select * into v from trunkline.lease_expiry e where e.name = lease_resign.name for update;
    if not found then
        raise exception 'there is no lease "%"', left(lease_resign.name, 100) using errcode = '42704';
    elsif v.holder is null or v.expires_at <= clock_timestamp() then
        return false;
    elsif force then
        update trunkline.lease l set fence = l.fence + 1 where l.name = lease_resign.name;
        update trunkline.lease_expiry e set fence = e.fence + 1 where e.name = lease_resign.name;
        perform trunkline._lease_release(array[lease_resign.name], array[v.holder], array[null::text]);
    else
        update trunkline.lease_expiry e set resign_at = coalesce(e.resign_at, clock_timestamp()) where e.name = lease_resign.name;
    end if;
    if v.session is not null then
        perform trunkline._door_ring(-130 - v.session % 2000000000);
    end if;
    return true;
end $$;
