-- The status that a row of an attached table should have: by the newest of its jobs that waits or runs, else by the one that ended
-- last. Null when there is none any more.
create or replace function trunkline._job_attached_status(origin int, origin_row jsonb) returns text
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
#variable_conflict use_column
begin
    return (select case h.state when 1 then 'running' when 4 then 'success' when 2 then 'error' when 3 then 'error' else 'new' end
              from trunkline.job_held h
             where h.origin = _job_attached_status.origin and jsonb_hash(h.origin_row) = jsonb_hash(_job_attached_status.origin_row)
               and h.origin_row = _job_attached_status.origin_row
             order by case when h.state in (0, 1, 5) then h.id end desc nulls last, h.ended_at desc, h.id desc limit 1);
end $$;
