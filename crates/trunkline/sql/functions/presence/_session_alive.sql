-- Is this session still here? Its row has not expired and, where watched, its presence lock is held.
-- A stranger who holds the key can only delay the answer until the expiry. Locks: the presence key, for microseconds.
create or replace function trunkline._session_alive(session int) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v trunkline.session;
begin
    select * into v from trunkline.session s where s.id = session;
    if not found or v.expires_at <= clock_timestamp() then
        return false;
    elsif not v.watched or v.pid = pg_backend_pid() then
        return true;
    elsif pg_try_advisory_lock_shared(1953656428, session) then
        perform pg_advisory_unlock_shared(1953656428, session);
        return false;
    end if;
    return true;
end $$;
