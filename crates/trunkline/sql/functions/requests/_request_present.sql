-- Is somebody here who serves this lane and type? A channel counts its live responders, an address its live session.
create or replace function trunkline._request_present(lane int, type text) returns boolean
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    if lane < 0 then
        return trunkline._session_alive(-lane);
    end if;
    return exists (select from trunkline.responder r
                    where r.channel = _request_present.lane and trunkline._session_alive(r.session));
end $$;
