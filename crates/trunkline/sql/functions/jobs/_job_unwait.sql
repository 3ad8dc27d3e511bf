-- Notes that a session waits for these jobs no longer: it has seen their ends, or has given up.
create or replace function trunkline._job_unwait(ids bigint[], session int) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
    delete from trunkline.job_wait w where w.id = any (_job_unwait.ids) and w.session = _job_unwait.session;
end $$;
