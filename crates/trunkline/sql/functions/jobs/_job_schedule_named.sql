-- The schedule of a name that exists. Errors: 22004 for null, 42704 when there is none.
create or replace function trunkline._job_schedule_named(name text) returns trunkline.job_schedule
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v trunkline.job_schedule;
begin
    select * into v from trunkline.job_schedule s where s.name = _job_schedule_named.name;
    if not found then
        if _job_schedule_named.name is null then
            raise exception 'schedule name must not be null' using errcode = '22004';
        end if;
        raise exception 'there is no schedule "%"', left(_job_schedule_named.name, 100) using errcode = '42704';
    end if;
    return v;
end $$;
