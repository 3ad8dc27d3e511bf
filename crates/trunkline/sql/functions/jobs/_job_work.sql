-- The queues that a worker asks for, made where they are new: of each its id and its door. Errors: those of job_open.
create or replace function trunkline._job_work(queues text[])
returns table (id int, name text, door int, durable boolean)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select v.id, v.name, -65 - (v.id & 63), v.durable
      from unnest(queues) with ordinality u(name, n) cross join lateral trunkline._job_queue(u.name) v order by u.n;
end $$;
