-- Writes what became of a job back to the row that it came from: a trigger on job_held, which fires for jobs of attached tables
-- only. What cannot be written now is noted, and made up for by _job_attached_due: outside READ COMMITTED, where no fresh look is
-- to be had, that is all. The plans that takers ask for end here: what is read now are small catalogs without statistics.
create or replace function trunkline._job_attached_changed() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = on set enable_bitmapscan = on set jit = off as $$
declare
    v_did text := 'locked';
begin
    if current_setting('transaction_isolation') = 'read committed' then
        v_did := trunkline._job_attached_settle(new.origin, new.origin_row, false);
    end if;
    if v_did not in ('written', 'gone') then
        insert into trunkline.job_unwritten (origin, origin_row, error)
        values (new.origin, new.origin_row, nullif(v_did, 'locked'));
    end if;
    return null;
end $$;
