-- The queue of a name, made on its first use. Errors: those of job_open.
create or replace function trunkline._job_queue(name text) returns trunkline.job_queue
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v    trunkline.job_queue;
    v_id int;
begin
    select * into v from trunkline.job_queue q where q.name = _job_queue.name;
    if not found then
        v_id := trunkline.job_open(_job_queue.name);
        select * into v from trunkline.job_queue q where q.id = v_id;
    end if;
    return v;
end $$;
