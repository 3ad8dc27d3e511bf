-- Registers a session as responder of a channel for some types (null: all). The channel's lane, and the responder's own,
-- where `gather` asks it; given `own`, it is that registration again, after a reconnect or with other types.
-- Errors: TL001 when the session is not present, 22023 for more than 100 types or a bad type name.
create or replace function trunkline._request_serve(session int, channel text, types text[], inout own int,
                                                    out lane int, out durable boolean)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    if cardinality(types) > 100 then
        raise exception 'a responder serves at most 100 types, got %', cardinality(types) using errcode = '22023';
    end if;
    perform trunkline._request_check_type(t) from unnest(types) t;
    select l.lane, l.durable into lane, durable from trunkline._request_lane(channel) l;
    perform from trunkline.session s
     where s.id = session and (s.pid = pg_backend_pid() or s.role = trunkline._role()) for key share;
    if not found then
        raise exception 'session % is no longer present', session using errcode = 'TL001';
    end if;
    update trunkline.responder r set types = _request_serve.types
     where r.lane = own and r.session = _request_serve.session and r.channel = _request_serve.lane;
    if not found then
        insert into trunkline.responder (channel, session, types) values (lane, session, types)
            returning responder.lane into own;
    end if;
end $$;
