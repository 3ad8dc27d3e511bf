-- Is somebody here who serves this lane, by the registry? A channel counts its live responders, an address its live session.
create or replace function trunkline._request_present(lane int) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return exists (
        select from trunkline.session s
         where (s.id = -_request_present.lane
                or s.id in (select r.session from trunkline.responder r where r.channel = _request_present.lane))
           and trunkline._session_here(s.id, s.pid, s.watched, s.expires_at));
end $$;
