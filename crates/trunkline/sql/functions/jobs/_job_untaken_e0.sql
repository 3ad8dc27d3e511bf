-- The lanes, of all queues or of these, in which a segment has jobs that nobody has taken: those that no cursor sees, rolled back or not.
create or replace function trunkline._job_untaken_e0(queues int[] default null) returns int[]
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    -- Each by the index, as laterals with a limit are: as semijoins they would read the whole segment.
    return array(
        select l.lane from trunkline.job_priority q
         cross join lateral (select q.queue * 16 + q.priority as lane) l
          left join lateral (
               select s.lo, s.hi from trunkline.job_slice_e0 s where s.lane = l.lane order by s.turn desc limit 1) c on true
          left join lateral (
               select true as found from trunkline.job_e0 j where j.lane = l.lane and (c.lo is null or c.hi is not null)
                limit 1) a on true
          left join lateral (
               select true as found from trunkline.job_e0 j where j.lane = l.lane and j.xid >= pg_snapshot_xmax(c.lo)
                limit 1) b on true
          left join lateral (
               select true as found from pg_snapshot_xip(c.lo) x
                cross join lateral (select from trunkline.job_e0 j where j.lane = l.lane and j.xid = x limit 1) j
                limit 1) r on true
         where (queues is null or q.queue = any (queues)) and coalesce(a.found, b.found, r.found));
end $$;
