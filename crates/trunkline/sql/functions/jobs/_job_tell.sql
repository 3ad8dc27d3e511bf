-- Rings whoever waits for the end of one of these jobs, with the commit of this transaction: see job_wait. A false ring is harmless.
-- One plan for all calls: only one index has the ids, so it is the right one whatever the table was when the plan was made.
create or replace function trunkline._job_tell(ids bigint[]) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
    perform trunkline._door_ring(w.door)
       from (select distinct -130 - w.session % 2000000000 as door from trunkline.job_wait w where w.id = any (_job_tell.ids)) w;
end $$;
