-- Appends requests to a segment and rings their lanes: the id of each, in order. Where nobody serves one of the lanes
-- `needed`, nothing is written, and each such lane comes back as `absent`. `doors`: all lanes of the requests, each once.
-- Flags: 1 text, 2 json (else bytes), 4 idempotent, 8 one-way, 16 confirm that it was taken, 32 fail without responder.
-- Which segment is the caller's choice: readers look in both. Sizes were checked by who sends (_request_check_size).
-- Guarantee: visible to takers from the commit on. Locks: none beyond the insert.
create or replace function trunkline._request_write_e0(session int, doors int[], needed int[], corrs bigint[],
    lanes int[], types text[], timeouts int[], flags int[], payloads bytea[], headers text[])
returns table (id bigint, absent int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_bits int := case right('request_e0', 2) when 'e0' then 0 when 'e1' then 1 when 'd0' then 2 else 3 end;
    v_xid  xid8 := pg_current_xact_id();                -- drawn before the doors are tested: see _door_ring
    v_now  timestamptz := clock_timestamp();
    v_lane int;
    v_rang boolean;
begin
    foreach v_lane in array needed loop
        if not exists (
            select from trunkline.responder r join trunkline.session s on s.id = r.session
             where r.channel = v_lane and s.expires_at > v_now
               and case when not s.watched or s.pid = pg_backend_pid() then true
                        when pg_try_advisory_lock_shared(1953656428, s.id)
                        then not pg_advisory_unlock_shared(1953656428, s.id)
                        else true end)
           and not trunkline._request_present(v_lane) then
            absent := v_lane;
            return next;
        end if;
    end loop;
    if absent is not null then
        return;
    end if;
    foreach v_lane in array doors loop
        v_rang := trunkline._door_ring(v_lane & 63);
    end loop;
    return query
    insert into trunkline.request_e0
        (id, xid, lane, caller, corr, flags, sent_at, expires_at, role, type, payload, headers)
    select nextval('trunkline.log_id_e') * 4 + v_bits, v_xid, u.lane, session, u.corr, u.f, v_now,
           v_now + u.ms * interval '1 millisecond', coalesce(nullif(current_setting('role', true), 'none'), session_user),
           u.type, u.payload, u.header
      from unnest(corrs, lanes, types, timeouts, flags, payloads, headers) u(corr, lane, type, ms, f, payload, header)
    returning id, null::int;
end $$;
