-- Takes a named lease for a holder: the new fence, or null while another holds it, or others wait for it before you.
-- The fence rises with every hand-over and never within one; asking again as the holder renews and keeps it.
-- Count `ttl` from the moment you asked, on your own monotonic clock. held_by: what people are shown, up to 100 characters.
-- Locks: the lease's rows when it is free, waiting for its guards' transactions.
-- Errors: 22023 for a name or ttl out of limits, 25001 outside READ COMMITTED, 25006 on a standby.
create or replace function trunkline.lease_acquire(name text, holder uuid, ttl interval, held_by text default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v     trunkline.lease_expiry;
    v_now boolean;
begin
    perform trunkline._lease_check(lease_acquire.name, 'lease_acquire');
    perform trunkline._check_ttl(ttl);
    if lease_acquire.holder is null then
        raise exception 'lease holder must not be null' using errcode = '22004';
    end if;
    perform trunkline._lease_make(lease_acquire.name, false)
      where not exists (select from trunkline.lease_expiry e where e.name = lease_acquire.name);
    select * into v from trunkline.lease_expiry e where e.name = lease_acquire.name;
    v_now := trunkline._lease_held(v);
    if v.holder = lease_acquire.holder and trunkline.lease_renew(lease_acquire.name, v.holder, v.fence, ttl) then
        return v.fence;
    elsif v_now is null then
        perform trunkline._lease_notice(lease_acquire.name, v.session);
        return null;
    elsif v_now then
        return null;
    end if;
    return (select t.fence
              from trunkline._lease_take(lease_acquire.name, lease_acquire.holder, null,
                       coalesce(lease_acquire.held_by, nullif(current_setting('application_name'), ''), 'sql'), ttl,
                       trunkline._lease_ahead(lease_acquire.name, null), true) t);
end $$;
