-- Gives back what a take handed out whose answer never arrived, because the connection broke: nobody has seen it, so it
-- comes again as the same attempt. Nothing when there is no such take.
-- Locks: the session's key, exclusive, so that a take of the old connection that is still under way is waited for; one that
-- begins later finds another connection's pid in the session.
create or replace function trunkline._job_return(session int, token bigint) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    perform pg_advisory_xact_lock(1953656431, session);
    perform trunkline._job_session(session);
    perform trunkline._job_abandon_e0(session, 0, null, token), trunkline._job_abandon_e1(session, 0, null, token),
            trunkline._job_abandon_d0(session, 0, null, token), trunkline._job_abandon_d1(session, 0, null, token),
            trunkline._job_abandon_held(session, token);
end $$;
