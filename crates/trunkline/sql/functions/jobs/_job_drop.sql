-- Cancels a held job that waits, saying why: false where it does not, or somebody else decides on it or its key just now.
-- Locks: its key, tried; its row, passed over where it is locked.
create or replace function trunkline._job_drop(id bigint, lane int, key text, why text) returns boolean
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
    if _job_drop.key is not null
       and not pg_try_advisory_xact_lock(1953656434, hashtext((_job_drop.lane >> 4) || ' ' || _job_drop.key)) then
        return false;
    end if;
    update trunkline.job_held h
       set state = 3, ended_at = clock_timestamp(), errors = trunkline._job_errors(h.errors, h.attempt, why)
     where h.id = (select x.id from trunkline.job_held x where x.id = _job_drop.id and x.state in (0, 5) for update skip locked);
    if not found then
        return false;
    elsif _job_drop.key is not null then
        perform trunkline._job_promote(_job_drop.lane, _job_drop.key, true);
    end if;
    perform trunkline._job_tell(array[_job_drop.id]);
    return true;
end $$;
