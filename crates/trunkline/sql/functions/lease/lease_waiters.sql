-- Who waits for a lease, in turn; none for a name that was never held.
create or replace function trunkline.lease_waiters(name text) returns table (turn int, held_by text, since timestamptz)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select (row_number() over (order by w.seq))::int, w.held_by, w.since
      from trunkline.lease_waiter w where w.name = lease_waiters.name order by w.seq;
end $$;
