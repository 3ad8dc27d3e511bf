-- How many jobs of each lane were ever pushed into a segment, from what the duties counted (job_counted) and what came since then, by
-- the index; null where nothing counted is in force. The file is asked for once the table is locked, so it is the one that is read.
create or replace function trunkline._job_since_e0() returns jsonb
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    return (
        select jsonb_object_agg(l.lane, l.n) filter (where l.n > 0)
          from (select q.lane, coalesce((k.jobs ->> q.lane::text)::bigint, 0) + n.since as n
                  from trunkline.job_counted k
                 cross join (select p.queue * 16 + p.priority as lane from trunkline.job_priority p) q
                 cross join lateral (
                       select count(*) as since from trunkline.job_e0 j
                        where j.lane = q.lane and j.xid >= pg_snapshot_xmin(k.seen) and not pg_visible_in_snapshot(j.xid, k.seen)) n
                 where k.segment = 'job_e0' and k.filenode = pg_relation_filenode('trunkline.job_e0')) l);
end $$;
