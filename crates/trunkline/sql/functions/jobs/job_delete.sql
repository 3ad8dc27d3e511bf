-- Deletes a job that ended and is held: dead, cancelled or done. False for one that waits or runs, which is to be cancelled first, and
-- for one that is in a ring, which goes with its segment. Errors: 22004, TL007. Locks: the row.
create or replace function trunkline.job_delete(id bigint) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    if job_delete.id is null then
        raise exception 'job id must not be null' using errcode = '22004';
    end if;
    delete from trunkline.job_held h where h.id = job_delete.id and h.state in (2, 3, 4);
    if not found then
        perform trunkline.job_show(job_delete.id);
        return false;
    end if;
    delete from trunkline.job_cancel c where c.id = job_delete.id;
    return true;
end $$;
