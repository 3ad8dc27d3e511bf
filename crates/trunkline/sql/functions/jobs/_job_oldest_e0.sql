-- When the oldest job of a lane was pushed that nobody has taken in a segment: null when there is none.
create or replace function trunkline._job_oldest_e0(lane int) returns timestamptz
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v     trunkline.job_slice_e0;
    v_xid xid8;
    v_id  bigint := 0;
begin
    select * into v from trunkline.job_slice_e0 s where s.lane = _job_oldest_e0.lane order by s.turn desc limit 1;
    v_xid := coalesce(pg_snapshot_xmin(v.lo), '0');
    if v.pos_xid >= v_xid and v.pos_xid < pg_snapshot_xmin(v.hi) then   -- all before its place was seen: begin there
        v_xid := v.pos_xid;
        v_id := v.pos_id;
    end if;
    return (select j.at from trunkline.job_e0 j
             where j.lane = _job_oldest_e0.lane
               and (j.xid, j.id) > (v_xid, v_id)
               and (v.lo is null or not pg_visible_in_snapshot(j.xid, v.lo))
               and (v.hi is null or (j.xid, j.id) > (v.pos_xid, v.pos_id) or not pg_visible_in_snapshot(j.xid, v.hi))
             order by j.xid, j.id limit 1);
end $$;
