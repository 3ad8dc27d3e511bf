-- The lanes in which a segment has jobs that nobody has taken: those that no cursor sees, rolled back or not.
create or replace function trunkline._job_untaken_e0() returns int[]
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    return array(
        select q.id * 16 + p from trunkline.job_queue q cross join generate_series(1, 9) p
          left join lateral (
               select s.lo, s.hi from trunkline.job_slice_e0 s where s.lane = q.id * 16 + p order by s.turn desc limit 1) c on true
         where q.priorities & (1 << p) <> 0
           and exists (select from trunkline.job_e0 j
                        where j.lane = q.id * 16 + p
                          and (c.lo is null or c.hi is not null
                               or j.xid >= pg_snapshot_xmin(c.lo) and not pg_visible_in_snapshot(j.xid, c.lo))));
end $$;
