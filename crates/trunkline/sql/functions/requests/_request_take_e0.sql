-- Hands the next requests of a lane to one responder: at most `max` rows, each to nobody else.
-- A segment's lane has a cursor (lo, hi, pos): all that lo sees is done, and of what hi sees, all up to pos; hi null: the
-- window is used up, and the next reaches to what this look sees. The newest take row is the cursor, and the lease on its
-- slice. (lane, turn) is unique, so a cursor is followed once, whoever tries; the advisory lock only saves the trying:
-- with `wait` false, for when a stranger keeps it, all is as safe and only slower.
-- Passed over: expired, ended before anybody took them, written by this transaction, and those whose caller is gone.
-- A row's number, from 1, is its slot. `more`: look again, there may be others. `types`: for _request_take_again_e0 only.
-- Errors: 25001 outside READ COMMITTED, TL001 when the session was reaped, TL008 when xids went backwards.
-- Locks, to the commit: the lane's key, and the session's, which its burial waits for. Plans want enable_seqscan and enable_bitmapscan off.
create or replace function trunkline._request_take_e0(session int, lane int, types text[], max int, wait boolean)
returns table (more boolean, take bigint, token bigint, id bigint, attempt int, caller int, flags int,
               deadline timestamptz, left_ms int, kind text, payload bytea, headers text)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_bits  int := case right('request_e0', 2) when 'e0' then 0 when 'e1' then 1 when 'd0' then 2 else 3 end;
    v_now   timestamptz := clock_timestamp();
    v_token bigint := uuid_hash_extended(gen_random_uuid(), 0);
    v_own   xid8 := pg_current_xact_id_if_assigned();      -- an application's transaction, that wrote already
    v_at    record;
    v_lo    pg_snapshot;
    v_hi    pg_snapshot;
    v_from  xid8;                                          -- rows after (from, past), up to `to`
    v_past  bigint;
    v_to    xid8;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        perform trunkline._check_read_committed('request_take');
    elsif wait and (pg_advisory_xact_lock(1953656430, lane) is null
                    or pg_advisory_xact_lock_shared(1953656431, session) is null) then
        null;
    end if;
    loop
        select t.turn, t.lo, t.hi, t.pos_xid, t.pos_id, (
                   select true from trunkline.again_e a
                    where a.lane = _request_take_e0.lane and a.id & 3 = v_bits limit 1) as again
          into v_at
          from trunkline.session s
          left join lateral (
              select t.turn, t.lo, t.hi, t.pos_xid, t.pos_id from trunkline.take_e0 t
               where t.lane = _request_take_e0.lane order by t.turn desc limit 1) t on true
         where s.id = session and (s.pid = pg_backend_pid() or s.role = trunkline._role());
        if not found then
            raise exception 'session % is no longer present', session using errcode = 'TL001';
        elsif v_at.again then
            return query select * from trunkline._request_take_again_e0(session, lane, types, max, v_token);
            if found then
                return;
            end if;
        end if;
        v_lo := coalesce(v_at.lo, '1:1:'); v_hi := v_at.hi;
        v_from := coalesce(v_at.pos_xid, '0'); v_past := coalesce(v_at.pos_id, 0);
        if pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax(v_lo) then
            raise exception 'xids went backwards: lane % was read up to %, now is %', lane, pg_snapshot_xmax(v_lo),
                pg_snapshot_xmax(pg_current_snapshot())
                using errcode = 'TL008', hint = 'run: trunkline schema repair';
        end if;
        loop
            v_to := null;
            if v_from < pg_snapshot_xmin(v_lo) then
                v_from := pg_snapshot_xmin(v_lo); v_past := 0;
            end if;
            if pg_snapshot_xmax(v_lo)::text::bigint - v_from::text::bigint > 64 then
                -- Too far back to read over what lo saw: one at a time, so that an old one costs what it wrote.
                v_to := (select min(x) from pg_snapshot_xip(v_lo) x
                          where exists (select from trunkline.request_e0 r
                                         where r.lane = _request_take_e0.lane and r.xid = x
                                           and (r.xid, r.id) > (v_from, v_past)));
                if v_from < coalesce(v_to, pg_snapshot_xmax(v_lo)) then
                    v_from := coalesce(v_to, pg_snapshot_xmax(v_lo)); v_past := 0;
                end if;
            end if;
            return query
            with seen as materialized (
                select coalesce(v_hi, case when v_own < pg_snapshot_xmax(s) then trunkline._log_snapshot(s) else s end) as hi
                  from pg_current_snapshot() s
            ), slice as materialized (
                select r.*
                  from seen cross join lateral (
                      select r.xid, r.id, r.caller, r.corr, r.flags, r.expires_at, r.type, r.payload, r.headers
                        from trunkline.request_e0 r
                       where r.lane = _request_take_e0.lane and (r.xid, r.id) > (v_from, v_past)
                         and r.xid <= coalesce(v_to, pg_snapshot_xmax(seen.hi)) and r.expires_at > v_now
                         and pg_visible_in_snapshot(r.xid, seen.hi) and not pg_visible_in_snapshot(r.xid, v_lo)
                         and (right('log_id_e', 1) = 'd' or r.caller = 0    -- durable ones outlive their caller's session
                              or (select 1 from trunkline.session s where s.id = r.caller) is not null)
                         and (select 1 from trunkline.ending_e0 e where e.id = r.id limit 1) is null
                       order by r.xid, r.id limit max) r
            ), taken as (
                insert into trunkline.take_e0 (id, lane, turn, session, token, taken_at, expires_at, lo, hi, pos_xid,
                                               pos_id, ids, callers, corrs, deadlines)
                select nextval('trunkline.log_id_e') * 4 + v_bits, _request_take_e0.lane, coalesce(v_at.turn, 0) + 1,
                       session, v_token, v_now, c.until,
                       case when c.more then v_lo else seen.hi end, case when c.more then seen.hi end,
                       case when c.more then c.xid end, case when c.more then c.ids[cardinality(c.ids)] end,
                       c.ids, c.callers, c.corrs, c.deadlines
                  from seen cross join (
                      select array_agg(s.id) as ids, array_agg(s.caller) as callers, array_agg(s.corr) as corrs,
                             array_agg(s.expires_at) as deadlines, max(s.xid) as xid, max(s.expires_at) as until,
                             count(*) = max or v_to is not null as more
                        from slice s having count(*) > 0) c
                    on conflict do nothing
                returning id, hi is not null as more)
            select t.more, t.id, v_token, s.id, 1, s.caller, s.flags, s.expires_at,
                   (extract(epoch from s.expires_at - v_now) * 1000)::int, s.type, s.payload, s.headers
              from taken t cross join slice s;
            if found then
                return;
            elsif exists (select from trunkline.take_e0 t
                           where t.lane = _request_take_e0.lane and t.turn > coalesce(v_at.turn, 0)) then
                exit;                                      -- somebody was faster: begin again
            elsif v_to is not null then
                v_from := v_to; v_past := 9223372036854775807;    -- none of that one's is to be handed out
            elsif v_hi is not null then
                v_lo := v_hi; v_hi := null; v_from := '0'; v_past := 0;    -- used up: a new window
            else
                return;
            end if;
        end loop;
    end loop;
end $$;
