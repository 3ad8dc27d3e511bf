-- Ends a session: hands on or ends the requests that it was handling, then removes it and its responders.
-- Every step is a compare-and-set on the request's ending, so burying twice, or a process that is not dead after all,
-- changes nothing that was answered. Waits for a take that it is in the middle of; the reaper looks for a later one.
-- Zero when another transaction is burying it. Locks: the session row, and its key.
create or replace function trunkline._session_bury(session int) returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_ended int;
begin
    perform from trunkline.session s where s.id = _session_bury.session for update skip locked;
    if not found then
        return 0;
    end if;
    perform pg_advisory_xact_lock(1953656431, _session_bury.session);
    delete from trunkline.responder r where r.session = _session_bury.session;
    delete from trunkline.session s where s.id = _session_bury.session;
    insert into trunkline.buried (session, id_e, id_d)
    values (_session_bury.session, (select last_value from trunkline.log_id_e), (select last_value from trunkline.log_id_d))
        on conflict do nothing;
    v_ended := trunkline._request_abandon_e0(session) + trunkline._request_abandon_e1(session)
             + trunkline._request_abandon_d0(session) + trunkline._request_abandon_d1(session);
    return v_ended;
end $$;
