-- Takes one registration of a session off the responders; what it is handling stays its own. `held`: lets go of the lane's
-- key as well, which _request_hold took for it.
create or replace function trunkline._request_unserve(session int, own int, held boolean) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_lane int;
begin
    delete from trunkline.responder r where r.lane = own and r.session = _request_unserve.session
       and exists (select from trunkline.session s where s.id = r.session
                      and (s.pid = pg_backend_pid() or s.role = trunkline._role()))
    returning r.channel into v_lane;
    if held and v_lane is not null then
        perform pg_advisory_unlock_shared(1953656432, v_lane);
    end if;
end $$;
