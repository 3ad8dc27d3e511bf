-- The time from which on a job may begin, as given: what is before all times is now, and null stays so. Errors: 22023 when it is more
-- than 3650 days ahead, as infinity is.
create or replace function trunkline._job_due(run_at timestamptz) returns timestamptz
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if run_at > clock_timestamp() + interval '3650 days' then
        raise exception 'run_at must be within 3650 days, got %', run_at using errcode = '22023';
    end if;
    return case when run_at = '-infinity' then clock_timestamp() else run_at end;
end $$;
