-- Rings for what max_running kept waiting, where jobs of these slices have ended. Whether any queue has a limit is asked of an index.
create or replace function trunkline._job_freed_e0(slices bigint[]) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    if exists (select from trunkline.job_queue q where q.limited) then
        perform trunkline._door_ring(d.door)
           from (select distinct -65 - (q.id & 63) as door from trunkline.job_slice_e0 s
                   join trunkline.job_queue q on q.id = s.lane >> 4
                  where s.id = any (slices) and q.limited and q.max_running > 0) d;
    end if;
end $$;
