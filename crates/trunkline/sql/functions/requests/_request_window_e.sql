-- Reads the next requests of a lane's window: of what `hi` sees (null: this statement) and `lo` does not, in the order
-- of (xid, id), those after (pos_xid, pos_id). ids is null when there are none. Call it with the lane locked.
-- Costs the rows of the window: first the transactions that were in progress in lo, then the range from xmax(lo).
-- Looks in both segments, always: a writer may have chosen its segment before the ring turned.
-- Passed over: expired, ended before anybody took them, written by this transaction, and those whose caller is gone.
create or replace function trunkline._request_window_e(lane int, lo pg_snapshot, hi pg_snapshot, pos_xid xid8,
    pos_id bigint, max int) returns trunkline.request_slice
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    v      trunkline.request_slice;
    v_now  timestamptz := clock_timestamp();
    v_keep boolean := right('request_e', 1) = 'd';        -- durable requests outlive their caller's session
    v_own  xid8 := pg_current_xact_id();
    v_pos  xid8 := coalesce(pos_xid, '0');
    v_past bigint := coalesce(pos_id, 0);
    v_xid  xid8 := greatest(pg_snapshot_xmax(lo), v_pos);
    v_id   bigint := case when v_pos = v_xid then v_past else 0 end;
    v_late xid8[] := array(select x from pg_snapshot_xip(lo) x where x >= v_pos);
begin
    if v_late <> '{}' then
        select array_agg(q.id), array_agg(1), array_agg(q.caller), array_agg(q.corr), array_agg(q.flags),
               array_agg(q.expires_at), array_agg(q.type), array_agg(q.payload), array_agg(q.headers),
               pg_current_snapshot(), (array_agg(q.xid))[count(*)], (array_agg(q.id))[count(*)],
               true
          into v
          from (select * from (
                 (select r.* from unnest(v_late) l(xid)
                   cross join lateral (select * from trunkline.request_e0 r
                                        where r.lane = _request_window_e.lane and r.xid = l.xid offset 0) r
                  where not (r.xid = v_pos and r.id <= v_past)
                    and (hi is null or pg_visible_in_snapshot(r.xid, hi)) and r.expires_at > v_now and r.xid <> v_own
                    and (v_keep or r.caller = 0 or (select 1 from trunkline.session s where s.id = r.caller) is not null)
                    and (select 1 from trunkline.ending_e0 e where e.id = r.id limit 1) is null
                  order by r.xid, r.id limit max)
                 union all
                 (select r.* from unnest(v_late) l(xid)
                   cross join lateral (select * from trunkline.request_e1 r
                                        where r.lane = _request_window_e.lane and r.xid = l.xid offset 0) r
                  where not (r.xid = v_pos and r.id <= v_past)
                    and (hi is null or pg_visible_in_snapshot(r.xid, hi)) and r.expires_at > v_now and r.xid <> v_own
                    and (v_keep or r.caller = 0 or (select 1 from trunkline.session s where s.id = r.caller) is not null)
                    and (select 1 from trunkline.ending_e1 e where e.id = r.id limit 1) is null
                  order by r.xid, r.id limit max)) u
                 order by u.xid, u.id limit max) q;
        if v.ids is not null then
            return v;
        end if;
    end if;
    select array_agg(q.id), array_agg(1), array_agg(q.caller), array_agg(q.corr), array_agg(q.flags),
           array_agg(q.expires_at), array_agg(q.type), array_agg(q.payload), array_agg(q.headers),
           pg_current_snapshot(), (array_agg(q.xid))[count(*)], (array_agg(q.id))[count(*)],
           count(*) = max
      into v
      from (select * from (
             (select r.* from trunkline.request_e0 r
              where r.lane = _request_window_e.lane and (r.xid, r.id) > (v_xid, v_id)
                and (hi is null or pg_visible_in_snapshot(r.xid, hi)) and r.expires_at > v_now and r.xid <> v_own
                and (v_keep or r.caller = 0 or (select 1 from trunkline.session s where s.id = r.caller) is not null)
                and (select 1 from trunkline.ending_e0 e where e.id = r.id limit 1) is null
              order by r.xid, r.id limit max)
             union all
             (select r.* from trunkline.request_e1 r
              where r.lane = _request_window_e.lane and (r.xid, r.id) > (v_xid, v_id)
                and (hi is null or pg_visible_in_snapshot(r.xid, hi)) and r.expires_at > v_now and r.xid <> v_own
                and (v_keep or r.caller = 0 or (select 1 from trunkline.session s where s.id = r.caller) is not null)
                and (select 1 from trunkline.ending_e1 e where e.id = r.id limit 1) is null
              order by r.xid, r.id limit max)) u
             order by u.xid, u.id limit max) q;
    return v;
end $$;
