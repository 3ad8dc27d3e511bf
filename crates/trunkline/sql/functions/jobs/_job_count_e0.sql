-- Counts the jobs of a segment for all who ask how many there are (_job_since_e0), once it grew by 16 MiB since that was done last.
-- One statement, so what is counted is what its snapshot sees. READ COMMITTED. Locks: the row.
create or replace function trunkline._job_count_e0() returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_bytes bigint := pg_relation_size('trunkline.job_e0');
begin
    if v_bytes < 16777216 + coalesce((select k.bytes from trunkline.job_counted k
                                       where k.segment = 'job_e0' and k.filenode = pg_relation_filenode('trunkline.job_e0')), 0) then
        return;
    end if;
    insert into trunkline.job_counted as k (segment, filenode, bytes, seen, jobs)
    select 'job_e0', pg_relation_filenode('trunkline.job_e0'), v_bytes, pg_current_snapshot(),
           coalesce(trunkline._job_pushed_e0(), '{}')
        on conflict (segment) do update
           set filenode = excluded.filenode, bytes = excluded.bytes, seen = excluded.seen, jobs = excluded.jobs;
end $$;
