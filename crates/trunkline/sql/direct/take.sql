-- The next requests of a lane that nobody else has taken from since this process did, so that it knows the cursor: the
-- short way of _request_take_e0. $1 session, $2 lane, $3 most, $4 turn, $5 lo, which is near, $6 hi or null; $7 and $8 the
-- xid and id after which to look; $9 the take that left the cursor so, gone when the segment was emptied since and turns
-- began anew; $10 a token.
-- Rows without a take: somebody else was faster, and the cursor is another. No rows: nothing here; ask the function.
with slice as materialized (
    select r.xid, r.id, r.caller, r.corr, r.flags, r.expires_at, r.type, r.payload, r.headers
      from trunkline.request_e0 r
     where r.lane = $2 and (r.xid, r.id) > ($7, $8) and r.expires_at > statement_timestamp()
       and not pg_visible_in_snapshot(r.xid, $5) and ($6 is null or pg_visible_in_snapshot(r.xid, $6))
       and (right('log_id_e', 1) = 'd' or r.caller = 0
            or (select 1 from trunkline.session s where s.id = r.caller) is not null)
       and (select 1 from trunkline.ending_e0 e where e.id = r.id and e.status in (3, 4) limit 1) is null
     order by r.xid, r.id limit $3
), taken as (
    insert into trunkline.take_e0 (id, lane, turn, session, token, taken_at, expires_at, lo, hi, pos_xid, pos_id,
                                   ids, callers, corrs, deadlines)
    select nextval('trunkline.log_id_e') * 4 + case right('request_e0', 2)
               when 'e0' then 0 when 'e1' then 1 when 'd0' then 2 else 3 end,
           $2, $4 + 1, $1, $10, statement_timestamp(), max(s.expires_at),
           case when count(*) = $3 then $5 else coalesce($6, pg_current_snapshot()) end,
           case when count(*) = $3 then coalesce($6, pg_current_snapshot()) end,
           case when count(*) = $3 then max(s.xid) end, case when count(*) = $3 then (array_agg(s.id))[count(*)] end,
           array_agg(s.id), array_agg(s.caller), array_agg(s.corr), array_agg(s.expires_at)
      from slice s
     where (select pg_try_advisory_xact_lock(1953656430, $2) and pg_try_advisory_xact_lock_shared(1953656431, $1))
       and (select o.pid = pg_backend_pid() from trunkline.session o where o.id = $1)
       and (select true from trunkline.take_e0 c where c.id = $9)
    having count(*) > 0
        on conflict do nothing
    returning id, turn, lo, hi, pos_xid, pos_id
)
select t.turn, t.lo, t.hi, t.pos_xid, t.pos_id, t.id, s.id, s.caller, s.flags,
       (extract(epoch from s.expires_at - statement_timestamp()) * 1000)::int, s.type, s.payload, s.headers
  from slice s left join taken t on true
