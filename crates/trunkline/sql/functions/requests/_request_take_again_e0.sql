-- Takes requests that are to be handed out once more, as _request_take_e0 does: no rows when there are none for these
-- types. The lane's cursor stays where it is.
-- Ordinary rows with ordinary locks: few requests ever get here. Locks: the rows taken, skipping others' takes.
create or replace function trunkline._request_take_again_e0(session int, lane int, types text[], max int,
    token bigint)
returns table (state int, more boolean, take bigint, claim bigint, id bigint, attempt int, caller int, flags int,
               deadline timestamptz, left_ms int, kind text, payload bytea, headers text,
               turn bigint, lo pg_snapshot, hi pg_snapshot, pos_xid xid8, pos_id bigint)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v_bits  int := case right('request_e0', 2) when 'e0' then 0 when 'e1' then 1 when 'd0' then 2 else 3 end;
    v_now   timestamptz := clock_timestamp();
    v_again jsonb;
    v_ids   bigint[];
    v_take  bigint;
begin
    perform pg_advisory_xact_lock_shared(1953656431, session);
    perform from trunkline.session s
      where s.id = session and (s.pid = pg_backend_pid() or not s.watched and s.role = trunkline._role());
    if not found then
        raise exception 'session % is no longer present', session using errcode = 'TL001';
    end if;
    with mine as (
        select a.id from trunkline.again_e a
         where a.lane = _request_take_again_e0.lane and a.id & 3 = v_bits and (types is null or a.type = any (types))
         order by a.id limit max for update skip locked
    ), gone as (
        delete from trunkline.again_e a using mine where a.id = mine.id returning a.id, a.attempt
    )
    select jsonb_object_agg(id::text, attempt) into v_again from gone;
    if v_again is null then
        return;
    end if;
    v_ids := array(
        select r.id from trunkline.request_e0 r
         where r.id in (select k::bigint from jsonb_object_keys(v_again) k) and r.expires_at > v_now
           and not exists (select from trunkline.ending_e0 e where e.id = r.id and e.part = 0 and e.status <> 6)
         order by r.id);
    while v_ids <> '{}' and v_take is null loop             -- whose turn it is is told by compare-and-set
        insert into trunkline.take_e0 (id, lane, turn, session, token, taken_at, expires_at, lo, hi, pos_xid, pos_id,
                                       ids, attempts, callers, corrs, deadlines)
        select nextval('trunkline.log_id_e') * 4 + v_bits, _request_take_again_e0.lane, coalesce(t.turn, 0) + 1,
               _request_take_again_e0.session, _request_take_again_e0.token,
               v_now, q.until, coalesce(t.lo, '1:1:'), t.hi, t.pos_xid, t.pos_id,
               v_ids, q.attempts, q.callers, q.corrs, q.deadlines
          from (select max(r.expires_at) as until, array_agg((v_again ->> r.id::text)::int order by r.id) as attempts,
                       array_agg(r.caller order by r.id) as callers, array_agg(r.corr order by r.id) as corrs,
                       array_agg(r.expires_at order by r.id) as deadlines
                  from trunkline.request_e0 r where r.id = any (v_ids)) q
          left join lateral (
              select * from trunkline.take_e0 t
               where t.lane = _request_take_again_e0.lane order by t.turn desc limit 1) t on true
            on conflict do nothing
        returning id into v_take;
    end loop;
    return query
    select 0, true, v_take, _request_take_again_e0.token, r.id, (v_again ->> r.id::text)::int, r.caller, r.flags,
           r.expires_at, (extract(epoch from r.expires_at - v_now) * 1000)::int, r.type, r.payload, r.headers,
           null::bigint, null::pg_snapshot, null::pg_snapshot, null::xid8, null::bigint
      from trunkline.request_e0 r where r.id = any (v_ids) order by r.id;
end $$;
