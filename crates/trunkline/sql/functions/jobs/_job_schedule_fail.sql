-- Notes why a schedule could not be fired, where it is still of this definition; it is tried again in a minute. Locks: its row.
create or replace function trunkline._job_schedule_fail(name text, generation bigint, error text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    update trunkline.job_schedule s set error = left(_job_schedule_fail.error, 1000), tried_at = clock_timestamp()
     where s.name = _job_schedule_fail.name and s.generation = _job_schedule_fail.generation;
end $$;
