-- Gives a lease back before it expires: true when it was held with this fence. The next holder gets a higher fence.
-- Does not wait for the transactions of its guards; the next holder does. Errors: as lease_acquire.
create or replace function trunkline.lease_release(name text, holder uuid, fence bigint) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    perform trunkline._lease_check(lease_release.name, 'lease_release');
    perform from trunkline.lease_expiry e
      where e.name = lease_release.name and e.holder = lease_release.holder and e.fence = lease_release.fence for update;
    return found and trunkline._lease_release(array[lease_release.name], array[lease_release.holder], array[null::text]) <> '{}';
end $$;
