-- Appends requests to the ring and rings their lanes' doors: an id for each, in order; 0 where nobody serves the lane
-- and the request asked to fail then (flag 32). One statement, so that one process keeps one write in flight.
-- Flags: 1 text, 2 json (else bytes), 4 idempotent, 8 one-way, 16 confirm that it was taken, 32 fail without responder.
-- Errors: 42704 unknown channel, TL004 payload over the channel's limit; nothing is written then.
-- Guarantee: visible to takers from the commit on. Locks: none beyond the insert.
create or replace function trunkline._request_write_e(session int, corrs bigint[], lanes int[], types text[],
    timeouts int[], flags int[], payloads bytea[], headers text[]) returns bigint[]
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_now  timestamptz := clock_timestamp();
    v_role text := trunkline._role();
    v_seg  smallint;
    v_ids  bigint[];
    v_lane int;
begin
    perform trunkline._request_check_sizes(lanes, payloads);
    select current into v_seg from trunkline.ring where name = 'request_e';
    select array_agg(case when u.f & 32 = 0 or trunkline._request_present(u.lane, u.type)
                          then trunkline._request_next_id_e() + v_seg else 0 end order by u.o)
      into v_ids
      from unnest(lanes, types, flags) with ordinality u(lane, type, f, o);
    if v_seg = 0 then
        insert into trunkline.request_e0
            (id, lane, caller, corr, flags, sent_at, expires_at, role, type, payload, headers)
        select u.id, u.lane, session, u.corr, u.f, v_now, v_now + u.ms * interval '1 millisecond', v_role,
               u.type, u.payload, u.headers
          from unnest(v_ids, corrs, lanes, types, timeouts, flags, payloads, headers)
               u(id, corr, lane, type, ms, f, payload, headers)
         where u.id <> 0;
    else
        insert into trunkline.request_e1
            (id, lane, caller, corr, flags, sent_at, expires_at, role, type, payload, headers)
        select u.id, u.lane, session, u.corr, u.f, v_now, v_now + u.ms * interval '1 millisecond', v_role,
               u.type, u.payload, u.headers
          from unnest(v_ids, corrs, lanes, types, timeouts, flags, payloads, headers)
               u(id, corr, lane, type, ms, f, payload, headers)
         where u.id <> 0;
    end if;
    for v_lane in select distinct l from unnest(lanes) l loop
        perform trunkline._door_ring(trunkline._request_door(v_lane));
    end loop;
    return v_ids;
end $$;
