-- Leaves: the session, its responders and its presence lock are gone at once; what it held is handed on by the reaper.
create or replace function trunkline._session_close(session int) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    perform trunkline._session_bury(session);
    perform pg_advisory_unlock(1953656428, session)
       from pg_locks l
      where l.locktype = 'advisory' and l.classid = 1953656428 and l.objid = session::text::oid
        and l.pid = pg_backend_pid() and l.granted;
end $$;
