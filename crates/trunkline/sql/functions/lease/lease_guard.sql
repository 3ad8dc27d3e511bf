-- Makes this transaction's effects conditional on the lease: raises TL002 unless the fence is still in force.
-- Locks the fence row FOR SHARE until the transaction ends, so a hand-over waits for it, and it for a hand-over.
-- Guarantee: an effect committed behind this call was made under the newest fence, at READ COMMITTED and above.
create or replace function trunkline.lease_guard(name text, fence bigint) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    perform from trunkline.lease l
      where l.name = lease_guard.name and l.fence = lease_guard.fence and l.epoch = trunkline._epoch() for share;
    if not found then
        raise exception 'lease "%" is no longer held with fence %', lease_guard.name, lease_guard.fence
            using errcode = 'TL002';
    end if;
end $$;
