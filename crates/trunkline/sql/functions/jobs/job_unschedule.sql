-- Removes a schedule: it fires no more, and the jobs that it has pushed stay. False when there is none of this name.
-- Errors: 22004. Locks: the schedule's row.
create or replace function trunkline.job_unschedule(name text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if job_unschedule.name is null then
        raise exception 'schedule name must not be null' using errcode = '22004';
    end if;
    delete from trunkline.job_schedule s where s.name = job_unschedule.name;
    return found;
end $$;
