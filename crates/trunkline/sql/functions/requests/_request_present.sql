-- Is somebody here who serves this lane? A channel counts its live responders, an address its live session.
-- The same test as _session_alive, in one statement. Locks: presence keys, for microseconds.
create or replace function trunkline._request_present(lane int) returns boolean
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    if lane < 0 then
        return trunkline._session_alive(-lane);
    end if;
    return exists (
        select from trunkline.responder r join trunkline.session s on s.id = r.session
         where r.channel = _request_present.lane and s.expires_at > clock_timestamp()
           and case when not s.watched or s.pid = pg_backend_pid() then true
                    when pg_try_advisory_lock_shared(1953656428, s.id)
                    then not pg_advisory_unlock_shared(1953656428, s.id)
                    else true end);
end $$;
