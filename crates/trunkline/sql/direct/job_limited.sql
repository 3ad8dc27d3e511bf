-- The short way of job_work.sql for a queue with a max_running: who counted what runs goes on from there, while nobody else takes.
-- $1 to $15 as there; and $16 the turn of its last take in job_limited, $17 how many more could begin after it by max_running and $21
-- by rate_limit, $18 the version of the settings then, $19 from which turn on anything ran, $20 of each part how many jobs of this
-- queue it ends: they were counted as running, so as many more may begin. One row, as there, and with what is needed to go on.
-- No jobs, or jobs without a slice: ask the function.
with done as (
    insert into trunkline.job_done_e0 (slice, part, slots)
    select u.slice, u.part, u.slots
      from unnest($11, $12, $13, $14) u(slice, token, part, slots)
      join trunkline.job_slice_e0 s on s.id = u.slice and s.token = u.token
     where u.part = 1 or (select true from trunkline.job_done_e0 d
                           where d.slice = u.slice and d.part = u.part - 1 and not d.closed)
        on conflict do nothing
    returning slice
), room as materialized (
    select r.now, greatest(least($3, r.now, $21), 0) as most
      from (select $17 + coalesce((select sum(u.n) from unnest($11, $20) u(slice, n) join done d on d.slice = u.slice), 0) as now) r
), slice as materialized (
    select j.xid, j.id, j.at, j.flags, j.kind, j.payload, j.headers
      from trunkline.job_e0 j
     where j.lane = $2 and (j.xid, j.id) > ($7, $8)
       and not pg_visible_in_snapshot(j.xid, $5) and ($6 is null or pg_visible_in_snapshot(j.xid, $6))
     order by j.xid, j.id limit (select r.most from room r)
), packed as materialized (
    select count(*) as n, max(s.xid) as xid, min(s.xid) as first_xid, array_agg(s.id) as ids, array_agg(s.at) as ats,
           array_agg(s.flags) as flags, array_agg(s.kind) as kinds, array_agg(s.payload) as payloads,
           array_agg(s.headers) as headers
      from slice s
), taken as (
    insert into trunkline.job_slice_e0 (id, lane, turn, session, token, taken_at, lo, hi, pos_xid, pos_id, from_xid, upto_xid, ids)
    select nextval('trunkline.log_id_e') * 4 + case right('job_e0', 2)
               when 'e0' then 0 when 'e1' then 1 when 'd0' then 2 else 3 end,
           $2, $4 + 1, $1, $10, statement_timestamp(),
           case when m.more then $5 else coalesce($6, pg_current_snapshot()) end,
           case when m.more then coalesce($6, pg_current_snapshot()) end,
           case when m.more then p.xid end, case when m.more then p.ids[p.n] end, p.first_xid, p.xid, p.ids
      from packed p
     cross join lateral (select p.n = (select r.most from room r) as more) m
     where p.n > 0
       and (select trunkline._job_limit_mine($2 >> 4, $16, $18))
       and (select pg_try_advisory_xact_lock(1953656432, $2) and pg_try_advisory_xact_lock_shared(1953656431, $1))
       and (select o.pid = pg_backend_pid() from trunkline.session o where o.id = $1)
       and (select true from trunkline.job_slice_e0 c where c.id = $9)
        on conflict do nothing
    returning id, turn, lo, hi, pos_xid, pos_id
), noted as (
    insert into trunkline.job_limited (queue, turn, slice, since)
    select $2 >> 4, $16 + 1, t.id, $19 from taken t
)
select array(select d.slice from done d) as done, (select true from trunkline.job_cancel limit 1) as cancels,
       t.id as slice, t.turn, t.lo, t.hi, t.pos_xid, t.pos_id, p.ids, p.ats, p.flags, p.kinds, p.payloads, p.headers,
       (r.now - k.n)::int as room, ($21 - k.n)::int as rate, $16 + 1 as limited, $19 as since, $18 as version,
       trunkline._job_limit_took_e0($2 >> 4, (k.n - k.cancelled)::int, array(select d.slice from done d)) as began
  from packed p cross join room r left join taken t on true
 cross join lateral (select case when t.id is not null then p.n else 0 end as n,
                            (select count(*) from trunkline.job_cancel c where t.id is not null and c.id = any (p.ids)) as cancelled) k
 where not $15 or set_config('synchronous_commit', 'off', true) is not null
