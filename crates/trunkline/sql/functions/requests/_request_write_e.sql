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
    v_now    timestamptz := clock_timestamp();
    v_role   text := coalesce(nullif(current_setting('role', true), 'none'), session_user);
    v_bits   bigint := case right('request_e', 1) when 'd' then 2 else 0 end;     -- of every id: ring and segment
    v_seg    smallint;
    v_ids    bigint[];
    v_absent int[] := '{}'::int[];
    v_lane   int;
    v_last   int;
    v_size   int := (select max(octet_length(p)) from unnest(payloads) p);
begin
    foreach v_lane in array lanes loop
        if v_lane is distinct from v_last then
            v_last := v_lane;
            if not exists (select from trunkline.request_channel c where c.id = v_lane and c.max_bytes >= v_size) then
                perform trunkline._request_check_sizes(lanes, payloads);
            end if;
            if not trunkline._request_present(v_lane) then
                v_absent := v_absent || v_lane;
            end if;
        end if;
    end loop;
    select current into v_seg from trunkline.ring where name = 'request_e';
    v_bits := v_bits + v_seg;
    loop
        v_ids := array(select case when u.f & 32 <> 0 and u.lane = any (v_absent) then 0
                                   else nextval('trunkline.log_id_e') * 4 + v_bits end
                         from unnest(lanes, flags) u(lane, f));
        exit when v_ids[1] = 0 or v_ids[1] > 4000000000 or right('request_e', 1) = 'd';
        perform trunkline._log_next_id_e();
    end loop;
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
    v_last := null;
    foreach v_lane in array lanes loop
        if v_lane is distinct from v_last then
            perform trunkline._door_ring(v_lane & 63);
        end if;
        v_last := v_lane;
    end loop;
    return v_ids;
end $$;
