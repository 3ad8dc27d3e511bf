-- Registers this connection's process as present: its id and address. The address is what peers send to.
-- The presence lock, held by the session, tells a dead process within moments; the expiry tells a stopped one for sure.
-- With watched false (behind a transaction pooler) only the expiry counts. Rests: it has nothing in hand, and need not be
-- watched. version: of its library. Locks: the presence key, for the session.
create or replace function trunkline._session_open(application text, watched boolean, lease interval, rests boolean default false,
                                                   version text default null, out id int, out address uuid)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    perform trunkline._log_begin_e();
    perform trunkline._log_begin_d();
    insert into trunkline.session (role, pid, application, watched, expires_at, rests, version)
    values (trunkline._role(), pg_backend_pid(), left(_session_open.application, 100), false,
            clock_timestamp() + lease, _session_open.rests, left(_session_open.version, 40))
    returning id, address into id, address;
    if _session_open.watched and pg_try_advisory_lock(1953656428, _session_open.id) then
        update trunkline.session s set watched = true where s.id = _session_open.id;
    end if;
    if not _session_open.rests then
        perform trunkline._door_ring(-130);
    end if;
end $$;
