-- The range part of a lane's window: what came after (pos, past) and `hi` (null: this moment's snapshot) sees, in the order of
-- (xid, id). ids is null when there is nothing; `more` tells that the slice is full. Call it with the lane locked.
-- Looks in both segments, always: a writer may have chosen its segment before the ring turned.
-- Passed over: expired, ended before anybody took them, written by this transaction, and those whose caller is gone.
create or replace function trunkline._request_window_e(lane int, hi pg_snapshot, pos xid8, past bigint, max int)
returns trunkline.request_slice
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v      trunkline.request_slice;
    v_now  timestamptz := clock_timestamp();
    v_keep boolean := right('request_e', 1) = 'd';        -- durable requests outlive their caller's session
    v_own  xid8 := pg_current_xact_id();
    v_hi   pg_snapshot := coalesce(hi, pg_current_snapshot());   -- before every look: several statements, one snapshot
    v_in0  boolean;
    v_in1  boolean;
begin
    v_in0 := exists (select from trunkline.request_e0 r
                      where r.lane = _request_window_e.lane and (r.xid, r.id) > (pos, past));
    v_in1 := exists (select from trunkline.request_e1 r
                      where r.lane = _request_window_e.lane and (r.xid, r.id) > (pos, past));
    if v_in0 and v_in1 then
        select array_agg(q.id), array_agg(1), array_agg(q.caller), array_agg(q.corr), array_agg(q.flags),
               array_agg(q.expires_at), array_agg(q.type), array_agg(q.payload), array_agg(q.headers),
               v_hi, (array_agg(q.xid))[count(*)], (array_agg(q.id))[count(*)],
               count(*) = max
          into v
          from (select * from (
                 (select r.* from trunkline.request_e0 r
                  where r.lane = _request_window_e.lane and (r.xid, r.id) > (pos, past)
                    and pg_visible_in_snapshot(r.xid, v_hi) and r.expires_at > v_now and r.xid <> v_own
                    and (v_keep or r.caller = 0 or (select 1 from trunkline.session s where s.id = r.caller) is not null)
                    and (select 1 from trunkline.ending_e0 e where e.id = r.id limit 1) is null
                  order by r.xid, r.id limit max)
                 union all
                 (select r.* from trunkline.request_e1 r
                  where r.lane = _request_window_e.lane and (r.xid, r.id) > (pos, past)
                    and pg_visible_in_snapshot(r.xid, v_hi) and r.expires_at > v_now and r.xid <> v_own
                    and (v_keep or r.caller = 0 or (select 1 from trunkline.session s where s.id = r.caller) is not null)
                    and (select 1 from trunkline.ending_e1 e where e.id = r.id limit 1) is null
                  order by r.xid, r.id limit max)) u
                 order by u.xid, u.id limit max) q;
    elsif v_in0 then
        select array_agg(q.id), array_agg(1), array_agg(q.caller), array_agg(q.corr), array_agg(q.flags),
               array_agg(q.expires_at), array_agg(q.type), array_agg(q.payload), array_agg(q.headers),
               v_hi, (array_agg(q.xid))[count(*)], (array_agg(q.id))[count(*)],
               count(*) = max
          into v
          from (select r.* from trunkline.request_e0 r
              where r.lane = _request_window_e.lane and (r.xid, r.id) > (pos, past)
                and pg_visible_in_snapshot(r.xid, v_hi) and r.expires_at > v_now and r.xid <> v_own
                and (v_keep or r.caller = 0 or (select 1 from trunkline.session s where s.id = r.caller) is not null)
                and (select 1 from trunkline.ending_e0 e where e.id = r.id limit 1) is null
              order by r.xid, r.id limit max) q;
    elsif v_in1 then
        select array_agg(q.id), array_agg(1), array_agg(q.caller), array_agg(q.corr), array_agg(q.flags),
               array_agg(q.expires_at), array_agg(q.type), array_agg(q.payload), array_agg(q.headers),
               v_hi, (array_agg(q.xid))[count(*)], (array_agg(q.id))[count(*)],
               count(*) = max
          into v
          from (select r.* from trunkline.request_e1 r
              where r.lane = _request_window_e.lane and (r.xid, r.id) > (pos, past)
                and pg_visible_in_snapshot(r.xid, v_hi) and r.expires_at > v_now and r.xid <> v_own
                and (v_keep or r.caller = 0 or (select 1 from trunkline.session s where s.id = r.caller) is not null)
                and (select 1 from trunkline.ending_e1 e where e.id = r.id limit 1) is null
              order by r.xid, r.id limit max) q;
    end if;
    return v;
end $$;
