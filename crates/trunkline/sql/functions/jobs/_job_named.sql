-- The queue of a name that exists. Errors: 22004 for null, 42704 when there is none.
create or replace function trunkline._job_named(name text) returns trunkline.job_queue
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v trunkline.job_queue;
begin
    select * into v from trunkline.job_queue q where q.name = _job_named.name;
    if not found then
        if _job_named.name is null then
            raise exception 'queue name must not be null' using errcode = '22004';
        end if;
        raise exception 'there is no queue "%"', left(_job_named.name, 100) using errcode = '42704';
    end if;
    return v;
end $$;
