-- The part of a lane's window that was in progress in `lo`: what transactions listed in `late` wrote and `hi` (null: this
-- statement) sees, in the order of (xid, id), after (pos, past). ids is null when there is nothing; else `more` is true.
-- Looked up one transaction at a time, so that an old one costs no more than what it wrote.
create or replace function trunkline._request_late_e(lane int, late xid8[], hi pg_snapshot, pos xid8, past bigint,
    max int) returns trunkline.request_slice
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v      trunkline.request_slice;
    v_now  timestamptz := clock_timestamp();
    v_keep boolean := right('request_e', 1) = 'd';        -- durable requests outlive their caller's session
    v_own  xid8 := pg_current_xact_id();
begin
    select array_agg(q.id), array_agg(1), array_agg(q.caller), array_agg(q.corr), array_agg(q.flags),
           array_agg(q.expires_at), array_agg(q.type), array_agg(q.payload), array_agg(q.headers),
           pg_current_snapshot(), (array_agg(q.xid))[count(*)], (array_agg(q.id))[count(*)],
           true
      into v
      from (select * from (
             (select r.* from unnest(late) l(xid)
               cross join lateral (select * from trunkline.request_e0 r
                                    where r.lane = _request_late_e.lane and r.xid = l.xid offset 0) r
              where not (r.xid = pos and r.id <= past)
                and (hi is null or pg_visible_in_snapshot(r.xid, hi)) and r.expires_at > v_now and r.xid <> v_own
                and (v_keep or r.caller = 0 or (select 1 from trunkline.session s where s.id = r.caller) is not null)
                and (select 1 from trunkline.ending_e0 e where e.id = r.id limit 1) is null
              order by r.xid, r.id limit max)
             union all
             (select r.* from unnest(late) l(xid)
               cross join lateral (select * from trunkline.request_e1 r
                                    where r.lane = _request_late_e.lane and r.xid = l.xid offset 0) r
              where not (r.xid = pos and r.id <= past)
                and (hi is null or pg_visible_in_snapshot(r.xid, hi)) and r.expires_at > v_now and r.xid <> v_own
                and (v_keep or r.caller = 0 or (select 1 from trunkline.session s where s.id = r.caller) is not null)
                and (select 1 from trunkline.ending_e1 e where e.id = r.id limit 1) is null
              order by r.xid, r.id limit max)) u
             order by u.xid, u.id limit max) q;
    return v;
end $$;
