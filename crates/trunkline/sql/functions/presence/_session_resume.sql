-- Takes up a session again after a reconnect: false when it was reaped meanwhile, and a new one must be opened.
-- While the old connection's backend lingers, its presence lock cannot be taken: the expiry alone counts until it can.
create or replace function trunkline._session_resume(session int, address uuid, watched boolean, lease interval,
                                                     rests boolean default false)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_lock boolean := watched and pg_try_advisory_lock(1953656428, session);
    v_ours boolean;
begin
    perform trunkline._log_begin_e();
    update trunkline.session s
       set pid = pg_backend_pid(), watched = v_lock, expires_at = clock_timestamp() + lease, seen_at = clock_timestamp(),
           rests = _session_resume.rests
     where s.id = _session_resume.session and s.address = _session_resume.address and s.role = trunkline._role();
    v_ours := found;                        -- a PERFORM sets FOUND anew
    if v_lock and not v_ours then
        perform pg_advisory_unlock(1953656428, session);
    end if;
    if v_ours and not _session_resume.rests then
        perform trunkline._door_ring(-130);
    end if;
    return v_ours;
end $$;
