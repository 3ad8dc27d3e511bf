-- Makes a queue, or finds it: its id. Settings: job_set. durable false keeps jobs in unlogged tables: faster, and a crash of
-- the database loses those that wait or run; it is for good.
-- Errors: 22004, 22023, TL011 for the name; 42710 when it exists and is of the other kind.
create or replace function trunkline.job_open(queue text, durable boolean default null) returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v trunkline.job_queue;
begin
    for v_try in 1 .. 2 loop
        select * into v from trunkline.job_queue q where q.name = job_open.queue;
        exit when found;
        perform trunkline._check_name('queue', job_open.queue);
        insert into trunkline.job_queue (name, durable) values (job_open.queue, coalesce(job_open.durable, true))
            on conflict do nothing
        returning * into v;
        if found then
            insert into trunkline.job_priority values (v.id, 5);
            exit;
        end if;
        perform trunkline._check_read_committed('the first use of a queue');       -- another transaction made it meanwhile
    end loop;
    if v.durable <> job_open.durable then
        raise exception 'queue "%" exists and is %', v.name, case when v.durable then 'durable' else 'not durable' end
            using errcode = '42710';
    end if;
    return v.id;
end $$;
