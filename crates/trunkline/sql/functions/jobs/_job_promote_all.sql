-- Lets the next jobs of keys go, as many of each as may run at once. Each goes to the end of the line of what is due, so that keys
-- take turns; one that could go already only when it is the key's `turn`. The caller holds the keys' locks: see _job_promote.
-- A row that somebody has locked is passed over. Locks: the rows.
create or replace function trunkline._job_promote_all(lanes int[], keys text[], turn boolean) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
    update trunkline.job_held h set state = 0, due_at = greatest(h.due_at, clock_timestamp())
     where h.id in (
           select l.id
             from (select distinct u.lane >> 4 as queue, u.key from unnest(lanes, keys) u(lane, key)) k
             join trunkline.job_queue q on q.id = k.queue
            cross join lateral (
                  select a.id from trunkline.job_held a
                   where a.lane >> 4 = k.queue and a.key = k.key and a.state in (0, 1, 5) and a.state <> 1
                   order by a.id limit greatest(0, q.key_max_running - (
                         select count(*)::int from trunkline.job_held r
                          where r.lane >> 4 = k.queue and r.key = k.key and r.state = 1))) n
             join trunkline.job_held l on l.id = n.id
            where l.state = 5 or turn and l.state = 0 and l.due_at < clock_timestamp()
              for update of l skip locked);
    perform trunkline._door_ring(d.door) from (select distinct -65 - (l >> 4 & 63) as door from unnest(lanes) l) d;
end $$;
