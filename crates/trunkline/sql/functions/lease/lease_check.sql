-- Makes this transaction's effects conditional on the lease: raises TL002 unless the fence is still in force.
-- Locks the fence row FOR SHARE until the transaction ends, so a hand-over waits for it, and it for a hand-over. Call it late.
-- Guarantee: an effect committed behind this call was made under the newest fence, at READ COMMITTED and above, where 40001 is
-- the other answer to a stale one. Errors: 25006 on a standby.
create or replace function trunkline.lease_check(name text, fence bigint) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    if trunkline._lease_in_force(lease_check.name, lease_check.fence) = 0 then
        raise exception 'lease "%" is no longer held with fence %', left(lease_check.name, 100), lease_check.fence
            using errcode = 'TL002';
    end if;
end $$;
