-- Takes a session off the responders of a lane; what it is handling stays its own.
create or replace function trunkline._request_unserve(session int, lane int) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    delete from trunkline.responder r where r.channel = _request_unserve.lane and r.session = _request_unserve.session
       and exists (select from trunkline.session s where s.id = r.session
                      and (s.pid = pg_backend_pid() or s.role = trunkline._role()));
end $$;
