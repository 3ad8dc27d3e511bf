-- Ends a session: removes it, its responders, subscriptions and waits for leases, and begins to hand on or end the requests that
-- it was handling. Of a busy one that takes more than a slice: the reaper goes on with what is noted in `buried`.
-- Every step is a compare-and-set on the request's ending, so burying twice, or a process that is not dead after all,
-- changes nothing that was answered. Waits for a take that it is in the middle of; the reaper looks for a later one.
-- False when another transaction is burying it. Locks: the session row, and its key.
create or replace function trunkline._session_bury(session int) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    perform from trunkline.session s where s.id = _session_bury.session for update skip locked;
    if not found then
        return false;
    end if;
    perform pg_advisory_xact_lock(1953656431, _session_bury.session);
    delete from trunkline.responder r where r.session = _session_bury.session;
    delete from trunkline.topic_subscription o where o.session = _session_bury.session;
    perform trunkline._lease_abandon(_session_bury.session);
    delete from trunkline.session s where s.id = _session_bury.session;
    insert into trunkline.buried (session) values (_session_bury.session) on conflict do nothing;
    perform trunkline._session_abandon(session);
    return true;
end $$;
