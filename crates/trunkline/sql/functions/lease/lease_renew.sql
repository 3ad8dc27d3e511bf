-- Prolongs a lease that is still held with this fence: true, or false when it has expired or was handed over.
-- Touches and judges the expiry row only, which carries the fence for that: a hand-over cannot slip in between,
-- and a guard's open transaction (lease_check) never blocks its own renewal. Errors: as lease_acquire.
create or replace function trunkline.lease_renew(name text, holder uuid, fence bigint, ttl interval) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    perform trunkline._lease_check(lease_renew.name, 'lease_renew');
    perform trunkline._check_ttl(ttl);
    update trunkline.lease_expiry e
       set expires_at = clock_timestamp() + lease_renew.ttl, seen_at = clock_timestamp(), ttl = lease_renew.ttl
     where e.name = lease_renew.name and e.holder = lease_renew.holder and e.fence = lease_renew.fence
       and e.expires_at > clock_timestamp();
    return found;
end $$;
