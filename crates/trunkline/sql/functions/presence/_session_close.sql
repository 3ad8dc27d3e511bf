-- Leaves: the session, its responders and its presence lock are gone at once; what it held is handed on by the reaper.
create or replace function trunkline._session_close(session int) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    if exists (select from trunkline.session s where s.id = session
                  and (s.pid = pg_backend_pid() or s.role = trunkline._role())) then
        perform trunkline._session_bury(session);
    end if;
    perform pg_advisory_unlock(1953656428, session)
       from pg_locks l
      where l.locktype = 'advisory' and l.classid = 1953656428 and l.objid = session::text::oid
        and l.pid = pg_backend_pid() and l.granted;
end $$;
