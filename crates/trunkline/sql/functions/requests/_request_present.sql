-- Is somebody here who serves this lane? A channel counts its live responders, an address its live session.
create or replace function trunkline._request_present(lane int) returns boolean
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_session int;
begin
    if lane < 0 then
        return trunkline._session_alive(-lane);
    end if;
    for v_session in select r.session from trunkline.responder r where r.channel = _request_present.lane loop
        if trunkline._session_alive(v_session) then
            return true;
        end if;
    end loop;
    return false;
end $$;
