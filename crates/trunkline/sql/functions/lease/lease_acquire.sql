-- Takes a named lease for a holder: the new fence, or null while another holder's has not expired.
-- The fence rises with every hand-over and never within one; asking again as the holder renews and keeps it.
-- Count `ttl` from the moment you asked, on your own monotonic clock. Locks: the lease row, waiting for its guards.
-- Errors: 22023 for a name or ttl out of limits, 25001 outside READ COMMITTED.
create or replace function trunkline.lease_acquire(name text, holder uuid, ttl interval) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_lease trunkline.lease;
    v_until timestamptz;
begin
    perform trunkline._check_name('lease', lease_acquire.name);
    perform trunkline._check_read_committed('lease_acquire');
    perform trunkline._check_ttl(ttl);
    if lease_acquire.holder is null then
        raise exception 'lease holder must not be null' using errcode = '22004';
    end if;
    insert into trunkline.lease (name, fence, epoch) values (lease_acquire.name, 0, trunkline._epoch())
        on conflict do nothing;
    insert into trunkline.lease_expiry (name, fence, expires_at) values (lease_acquire.name, 0, '-infinity')
        on conflict do nothing;
    select * into v_lease from trunkline.lease l where l.name = lease_acquire.name for no key update;
    select expires_at into v_until from trunkline.lease_expiry l where l.name = lease_acquire.name for update;
    if v_lease.holder is distinct from lease_acquire.holder then
        if v_until > clock_timestamp() then
            return null;
        end if;
        v_lease.fence := v_lease.fence + 1;
        update trunkline.lease l set holder = lease_acquire.holder, fence = v_lease.fence, epoch = trunkline._epoch()
         where l.name = lease_acquire.name;
    elsif v_until <= clock_timestamp() or v_lease.epoch <> trunkline._epoch() then
        v_lease.fence := v_lease.fence + 1;
        update trunkline.lease l set fence = v_lease.fence, epoch = trunkline._epoch() where l.name = lease_acquire.name;
    end if;
    update trunkline.lease_expiry l set expires_at = clock_timestamp() + ttl,
           holder = lease_acquire.holder, fence = v_lease.fence
     where l.name = lease_acquire.name;
    return v_lease.fence;
end $$;
