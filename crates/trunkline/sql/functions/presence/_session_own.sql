-- The session of this connection, for responders and peers in plain SQL; opened on the first call.
-- It lives as long as the connection: the presence lock tells, the expiry is a day.
create or replace function trunkline._session_own() returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_id int := nullif(current_setting('trunkline.session', true), '')::int;
begin
    if exists (select from trunkline.session s where s.id = v_id and s.pid = pg_backend_pid()) then
        update trunkline.session s set expires_at = clock_timestamp() + interval '1 day', seen_at = clock_timestamp()
         where s.id = v_id and s.expires_at < clock_timestamp() + interval '12 hours';
        return v_id;
    end if;
    select o.id into v_id from trunkline._session_open(coalesce(nullif(current_setting('application_name'), ''), 'sql'),
                                                      true, interval '1 day') o;
    perform set_config('trunkline.session', v_id::text, false);
    return v_id;
end $$;
