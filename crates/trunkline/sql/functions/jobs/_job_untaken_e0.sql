-- The lanes in which a segment has jobs that nobody has taken: those that no cursor sees, rolled back or not.
create or replace function trunkline._job_untaken_e0() returns int[]
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    return array(
        select q.queue * 16 + q.priority from trunkline.job_priority q
          left join lateral (
               select s.lo, s.hi from trunkline.job_slice_e0 s where s.lane = q.queue * 16 + q.priority
                order by s.turn desc limit 1) c on true
         where exists (select from trunkline.job_e0 j
                        where j.lane = q.queue * 16 + q.priority
                          and (c.lo is null or c.hi is not null
                               or j.xid >= pg_snapshot_xmin(c.lo) and not pg_visible_in_snapshot(j.xid, c.lo))));
end $$;
