-- Notes parts of slices as done, and takes the next jobs of a lane that nobody else has taken from since this process did, so
-- that it knows the cursor: the short way of _job_done_e0 and _job_slice_e0, in one statement and one commit. $1 session, $2
-- lane, $3 most, $4 turn, $5 lo, which is near, $6 hi or null; $7 and $8 the xid and id after which to look; $9 the slice
-- that left the cursor so, gone when the segment was emptied since and turns began anew; $10 a token; then for each part:
-- $11 slice, $12 token, $13 its number, $14 its slots. One row: what was accepted; what was taken, packed; the new cursor.
-- $15: the commit need not wait for the disk: a crash may forget it, as if it had come just before; parts are flushed soon after.
-- Jobs without a slice: somebody else was faster, and the cursor is another. No jobs: nothing here; ask the function.
with done as (
    insert into trunkline.job_done_e0 (slice, part, slots)
    select u.slice, u.part, u.slots
      from unnest($11, $12, $13, $14) u(slice, token, part, slots)
      join trunkline.job_slice_e0 s on s.id = u.slice and s.token = u.token
     where u.part = 1 or (select true from trunkline.job_done_e0 d
                           where d.slice = u.slice and d.part = u.part - 1 and not d.closed)
        on conflict do nothing
    returning slice
), slice as materialized (
    select j.xid, j.id, j.at, j.flags, j.kind, j.payload, j.headers
      from trunkline.job_e0 j
     where j.lane = $2 and (j.xid, j.id) > ($7, $8)
       and not pg_visible_in_snapshot(j.xid, $5) and ($6 is null or pg_visible_in_snapshot(j.xid, $6))
       and (select q.paused_at is null and not (q.held or q.limited) from trunkline.job_queue q where q.id = $2 >> 4)
     order by j.xid, j.id limit $3
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
           case when p.n = $3 then $5 else coalesce($6, pg_current_snapshot()) end,
           case when p.n = $3 then coalesce($6, pg_current_snapshot()) end,
           case when p.n = $3 then p.xid end, case when p.n = $3 then p.ids[p.n] end, p.first_xid, p.xid, p.ids
      from packed p
     where p.n > 0
       and (select pg_try_advisory_xact_lock(1953656432, $2) and pg_try_advisory_xact_lock_shared(1953656431, $1))
       and (select o.pid = pg_backend_pid() from trunkline.session o where o.id = $1)
       and (select true from trunkline.job_slice_e0 c where c.id = $9)
        on conflict do nothing
    returning id, turn, lo, hi, pos_xid, pos_id
)
select array(select d.slice from done d) as done, (select true from trunkline.job_cancel limit 1) as cancels,
       t.id as slice, t.turn, t.lo, t.hi, t.pos_xid, t.pos_id, p.ids, p.ats, p.flags, p.kinds, p.payloads, p.headers,
       null::int as room, null::bigint as limited
  from packed p left join taken t on true
 where not $15 or set_config('synchronous_commit', 'off', true) is not null
