-- Whether a lease's fence is in force: 1, and it stays so until this transaction ends, or 0. Raises nothing, so that a driver that hides
-- SQLSTATEs learns it; who gets 0 calls lease_check, which makes the transaction fail. Locks: as lease_check.
create or replace function trunkline._lease_in_force(name text, fence bigint) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    perform from trunkline.lease l
      where l.name = _lease_in_force.name and l.fence = _lease_in_force.fence and l.epoch = trunkline._epoch() for share;
    return case when found then 1 else 0 end;
end $$;
