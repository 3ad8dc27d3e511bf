-- Says "still here": false when the session was reaped, so that its owner opens a new one and drops its claims.
create or replace function trunkline._session_renew(session int, lease interval) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    update trunkline.session s set expires_at = clock_timestamp() + lease
     where s.id = _session_renew.session and (s.pid = pg_backend_pid() or not s.watched and s.role = trunkline._role());
    return found;
end $$;
