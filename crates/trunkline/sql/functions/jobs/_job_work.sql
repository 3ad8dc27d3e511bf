-- The queues that a worker asks for, made where they are new: of each its id, its door, and how many attempts it gives.
-- Errors: those of job_open.
create or replace function trunkline._job_work(queues text[])
returns table (id int, name text, door int, max_attempts int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select v.id, v.name, -65 - (v.id & 63), v.max_attempts
      from unnest(queues) with ordinality u(name, n) cross join lateral trunkline._job_queue(u.name) v order by u.n;
end $$;
