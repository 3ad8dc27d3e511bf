-- Rings whoever waits for the end of one of these jobs, with the commit of this transaction: see job_wait. A false ring is harmless.
create or replace function trunkline._job_tell(ids bigint[]) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
    if not exists (select from trunkline.job_wait) then     -- nothing to plan for, as nearly always
        return;
    end if;
    perform trunkline._door_ring(w.door)
       from (select distinct -130 - w.session % 2000000000 as door from trunkline.job_wait w where w.id = any (_job_tell.ids)) w;
end $$;
