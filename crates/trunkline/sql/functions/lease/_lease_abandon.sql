-- What becomes of a session's leases when it ends: its leases are free in a quarter of a second (_lease_notice), it no longer waits,
-- and who is first in a queue because of that is rung.
create or replace function trunkline._lease_abandon(session int) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    perform trunkline._lease_notice(e.name, e.session)
       from trunkline.lease_expiry e where e.session = _lease_abandon.session;
    delete from trunkline.lease_watch w where w.session = _lease_abandon.session;
    perform trunkline._lease_leave(array(select w.holder from trunkline.lease_waiter w where w.session = _lease_abandon.session));
end $$;
