-- Hands the next requests of a lane to one responder: at most `max` rows, each to nobody else (ARCHITECTURE, "the log").
-- The newest take row of the segment's lane is its cursor (lo, hi, pos), and the lease on its slice. (lane, turn) is unique,
-- so a cursor is followed once, whoever tries and at whatever isolation level; the advisory keys only save the trying, and
-- with `polite` false, for when a stranger keeps one, all is as safe and only slower.
-- `token`: drawn by the taker, so that he can give back what a lost answer kept from him (_request_return_e).
-- Passed over: expired, ended before anybody took them, written by this transaction, and those whose caller is gone.
-- `state`: 0 taken; 1 look again at once; 2 call _request_take_again_e0 first (then with `again` false); 3 somebody else is
-- taking: look again soon; 4 xids went backwards (a restore): TL008. A row's number, from 1, is its slot. No rows: nothing.
-- Locks, to the commit: the lane's key, and the session's, for which its burial waits. Short way: sql/direct/take.sql.
-- Plans want enable_seqscan and enable_bitmapscan off.
create or replace function trunkline._request_take_e0(session int, lane int, max int, polite boolean, again boolean,
    token bigint)
returns table (state int, more boolean, take bigint, claim bigint, id bigint, attempt int, caller int, flags int,
               deadline timestamptz, left_ms int, kind text, payload bytea, headers text,
               turn bigint, lo pg_snapshot, hi pg_snapshot, pos_xid xid8, pos_id bigint)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    with at as materialized (
        select coalesce(t.turn, 0) as turn, coalesce(t.lo, '1:1:') as lo, t.hi, coalesce(t.pos_xid, '0') as pos_xid,
               coalesce(t.pos_id, 0) as pos_id, n.seen,
               case when $4 and not (pg_try_advisory_xact_lock(1953656430, $2)
                                     and pg_try_advisory_xact_lock_shared(1953656431, $1)) then 3
                    when pg_snapshot_xmax(n.seen) < pg_snapshot_xmax(t.lo) then 4
                    when $5 and exists (select from trunkline.again_e a where a.lane = $2
                                    and a.id & 3 = case right('request_e0', 2)
                                        when 'e0' then 0 when 'e1' then 1 when 'd0' then 2 else 3 end) then 2
                    else 0 end as state
          from trunkline.session s
         cross join (select case when pg_current_xact_id_if_assigned() < pg_snapshot_xmax(c)
                                 then trunkline._log_snapshot(c) else c end as seen from pg_current_snapshot() c) n
          left join lateral (
              select t.turn, t.lo, t.hi, t.pos_xid, t.pos_id from trunkline.take_e0 t
               where t.lane = $2 order by t.turn desc limit 1) t on true
         where s.id = $1
           and (s.pid = pg_backend_pid()
                or not s.watched and s.role = coalesce(nullif(current_setting('role', true), 'none'), session_user))
    ), late as materialized (
        -- What was in progress in lo is read over with what follows when near, and taken one by one when not: an old
        -- transaction costs what it wrote.
        select a.*, case when a.pos_xid < pg_snapshot_xmax(a.lo) and not trunkline._log_near(a.lo) then (
                   select min(x) from pg_snapshot_xip(a.lo) x
                    where exists (select from trunkline.request_e0 r
                                   where r.lane = $2 and r.xid = x and (r.xid, r.id) > (a.pos_xid, a.pos_id))) end as only
          from at a where a.state = 0
    ), span as materialized (
        select l.*, coalesce(l.hi, l.seen) as past,
               greatest(l.pos_xid, case when l.only is not null then l.only when trunkline._log_near(l.lo)
                                        then pg_snapshot_xmin(l.lo) else pg_snapshot_xmax(l.lo) end) as first
          from late l
    ), slice as materialized (
        select r.*
          from span cross join lateral (
              select r.xid, r.id, r.caller, r.corr, r.flags, r.expires_at, r.type, r.payload, r.headers
                from trunkline.request_e0 r
               where r.lane = $2
                 and (r.xid, r.id) > (span.first, case when span.first = span.pos_xid then span.pos_id else 0 end)
                 and r.xid <= coalesce(span.only, pg_snapshot_xmax(span.past)) and r.expires_at > clock_timestamp()
                 and pg_visible_in_snapshot(r.xid, span.past) and not pg_visible_in_snapshot(r.xid, span.lo)
                 and (right('log_id_e', 1) = 'd' or r.caller = 0        -- durable ones outlive their caller's session
                      or (select 1 from trunkline.session s where s.id = r.caller) is not null)
                 and (select 1 from trunkline.ending_e0 e where e.id = r.id and e.status in (3, 4) limit 1) is null
               order by r.xid, r.id limit $3) r
    ), taken as (
        insert into trunkline.take_e0 (id, lane, turn, session, token, taken_at, expires_at, lo, hi, pos_xid, pos_id,
                                       ids, callers, corrs, deadlines)
        select nextval('trunkline.log_id_e') * 4 + case right('request_e0', 2)
                   when 'e0' then 0 when 'e1' then 1 when 'd0' then 2 else 3 end,
               $2, span.turn + 1, $1, $6, clock_timestamp(),
               coalesce(s.until, clock_timestamp()),
               case when m.more then span.lo else span.past end, case when m.more then span.past end,
               case when m.more then coalesce(s.xid, span.only) end,
               case when m.more then coalesce(s.ids[s.n], 9223372036854775807) end,
               coalesce(s.ids, '{}'), coalesce(s.callers, '{}'), coalesce(s.corrs, '{}'), coalesce(s.deadlines, '{}')
          from span
         cross join (select array_agg(s.id) as ids, array_agg(s.caller) as callers, array_agg(s.corr) as corrs,
                            array_agg(s.expires_at) as deadlines, max(s.xid) as xid, max(s.expires_at) as until,
                            count(*) as n
                       from slice s) s
         cross join lateral (select s.n = $3 or span.only is not null as more) m
         where s.n > 0 or span.only is not null or span.hi is not null
            on conflict do nothing
        returning id, turn, lo, hi, pos_xid, pos_id, ids = '{}' as empty, (select span.hi is not null from span) as older
    )
    select case when t.id is null then 1 else 0 end, t.hi is not null or t.older, t.id, $6, s.id, 1, s.caller, s.flags,
           s.expires_at, (extract(epoch from s.expires_at - clock_timestamp()) * 1000)::int, s.type, s.payload, s.headers,
           t.turn, t.lo, t.hi, t.pos_xid, t.pos_id
      from slice s left join taken t on true
    union all
    select 1, true, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null
      from taken t where t.empty
    union all
    select a.state, true, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null
      from at a where a.state <> 0;
end $$;
