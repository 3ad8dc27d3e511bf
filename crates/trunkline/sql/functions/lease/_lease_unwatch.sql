-- Ends that a session watches leases.
create or replace function trunkline._lease_unwatch(session int, names text[]) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    delete from trunkline.lease_watch w where w.session = _lease_unwatch.session and w.name = any (names);
end $$;
