-- Gives a lease back before it expires: true when it was held with this fence. The next holder gets a higher fence.
create or replace function trunkline.lease_release(name text, holder uuid, fence bigint) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    perform trunkline._check_read_committed('lease_release');
    update trunkline.lease l set holder = null
     where l.name = lease_release.name and l.holder = lease_release.holder and l.fence = lease_release.fence;
    if not found then
        return false;
    end if;
    update trunkline.lease_expiry e set expires_at = '-infinity' where e.name = lease_release.name;
    return true;
end $$;
