-- Registers a session as responder of a channel for some types (null: all), or changes its types. The channel's lane,
-- and the responder's own, where `gather` asks it.
-- Errors: TL001 when the session is not present, 22023 for more than 100 types or a bad type name.
create or replace function trunkline._request_serve(session int, channel text, types text[], out lane int,
                                                    out durable boolean, out own int)
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
    insert into trunkline.responder (channel, session, types) values (lane, session, types)
        on conflict (channel, session) do update set types = excluded.types
        returning responder.lane into own;
end $$;
