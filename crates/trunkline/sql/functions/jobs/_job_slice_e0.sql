-- Takes the next jobs of a lane in a segment, at most `most` and 900 (a slice's row is one page at most), packed: each to
-- nobody else (ARCHITECTURE, "the log").
-- The newest slice of the segment's lane is its cursor (lo, hi, pos), and the lease on its jobs. (lane, turn) is unique,
-- so a cursor is followed once, whoever tries and at whatever isolation level; the advisory keys only save the trying, and
-- with `polite` false, for when a stranger keeps one, all is as safe and only slower.
-- token: drawn by the taker; whoever knows it may end its jobs. Session 0 takes for nobody (_job_spill_e0).
-- state: 0 taken; 1 look again at once; 3 somebody else is taking: look again soon; 4 xids went backwards (a restore): TL008.
-- No rows: nothing. Locks, to the commit: the lane's key, and the session's, for which its burial waits.
-- Short way: sql/direct/job_work.sql. Plans want enable_seqscan and enable_bitmapscan off.
create or replace function trunkline._job_slice_e0(session int, lane int, most int, polite boolean, token bigint)
returns table (state int, more boolean, slice bigint, ids bigint[], ats timestamptz[], flags int[], kinds text[],
               payloads bytea[], headers text[], turn bigint, lo pg_snapshot, hi pg_snapshot, pos_xid xid8, pos_id bigint)
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    with at as materialized (
        select coalesce(t.turn, 0) as turn, coalesce(t.lo, '1:1:') as lo, t.hi, coalesce(t.pos_xid, '0') as pos_xid,
               coalesce(t.pos_id, 0) as pos_id, n.seen,
               case when $4 and not (pg_try_advisory_xact_lock(1953656432, $2)
                                     and pg_try_advisory_xact_lock_shared(1953656431, $1)) then 3
                    when pg_snapshot_xmax(n.seen) < pg_snapshot_xmax(t.lo) then 4
                    else 0 end as state
          from (select case when pg_current_xact_id_if_assigned() < pg_snapshot_xmax(c)
                            then trunkline._log_snapshot(c) else c end as seen from pg_current_snapshot() c) n
          left join lateral (
              select t.turn, t.lo, t.hi, t.pos_xid, t.pos_id from trunkline.job_slice_e0 t
               where t.lane = $2 order by t.turn desc limit 1) t on true
    ), late as materialized (
        -- What was in progress in lo is read over with what follows when near, and taken one by one when not: an old
        -- transaction costs what it wrote.
        select a.*, case when a.pos_xid < pg_snapshot_xmax(a.lo) and not trunkline._log_near(a.lo) then (
                   select min(x) from pg_snapshot_xip(a.lo) x
                    where exists (select from trunkline.job_e0 j
                                   where j.lane = $2 and j.xid = x and (j.xid, j.id) > (a.pos_xid, a.pos_id))) end as only
          from at a where a.state = 0
    ), span as materialized (
        select l.*, coalesce(l.hi, l.seen) as past,
               greatest(l.pos_xid, case when l.only is not null then l.only when trunkline._log_near(l.lo)
                                        then pg_snapshot_xmin(l.lo) else pg_snapshot_xmax(l.lo) end) as first
          from late l
    ), slice as materialized (
        select j.*
          from span cross join lateral (
              select j.xid, j.id, j.at, j.flags, j.kind, j.payload, j.headers
                from trunkline.job_e0 j
               where j.lane = $2
                 and (j.xid, j.id) > (span.first, case when span.first = span.pos_xid then span.pos_id else 0 end)
                 and j.xid <= coalesce(span.only, pg_snapshot_xmax(span.past))
                 and pg_visible_in_snapshot(j.xid, span.past) and not pg_visible_in_snapshot(j.xid, span.lo)
               order by j.xid, j.id limit least($3, 900)) j
    ), packed as materialized (
        select count(*) as n, max(s.xid) as xid, min(s.xid) as first_xid, array_agg(s.id) as ids, array_agg(s.at) as ats,
               array_agg(s.flags) as flags, array_agg(s.kind) as kinds, array_agg(s.payload) as payloads,
               array_agg(s.headers) as headers
          from slice s
    ), taken as (
        insert into trunkline.job_slice_e0 (id, lane, turn, session, token, taken_at, lo, hi, pos_xid, pos_id, from_xid, upto_xid,
                                            ids)
        select nextval('trunkline.log_id_e') * 4 + case right('job_e0', 2)
                   when 'e0' then 0 when 'e1' then 1 when 'd0' then 2 else 3 end,
               $2, span.turn + 1, $1, $5, clock_timestamp(),
               case when m.more then span.lo else span.past end, case when m.more then span.past end,
               case when m.more then coalesce(p.xid, span.only) end,
               case when m.more then coalesce(p.ids[p.n], 9223372036854775807) end, p.first_xid, p.xid, coalesce(p.ids, '{}')
          from span cross join packed p
         cross join lateral (select p.n = least($3, 900) or span.only is not null as more) m
         where p.n > 0 or span.only is not null or span.hi is not null
            on conflict do nothing
        returning id, turn, lo, hi, pos_xid, pos_id, ids = '{}' as empty, (select span.hi is not null from span) as older
    )
    select case when t.id is null then 1 else 0 end, t.hi is not null or t.older, t.id, p.ids, p.ats, p.flags, p.kinds,
           p.payloads, p.headers, t.turn, t.lo, t.hi, t.pos_xid, t.pos_id
      from packed p left join taken t on true where p.n > 0
    union all
    select 1, true, null, null, null, null, null, null, null, null, null, null, null, null from taken t where t.empty
    union all
    select a.state, true, null, null, null, null, null, null, null, null, null, null, null, null from at a where a.state <> 0;
end $$;
