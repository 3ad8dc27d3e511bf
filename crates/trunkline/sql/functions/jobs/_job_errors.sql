-- A job's errors with one more: of the last 50, each of 4,096 characters at most. A null error adds nothing.
create or replace function trunkline._job_errors(errors jsonb, attempt int, error text) returns jsonb
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if error is null then
        return errors;
    elsif jsonb_array_length(errors) >= 50 then
        errors := errors - 0;
    end if;
    return errors || jsonb_build_object('attempt', attempt, 'at', clock_timestamp(), 'error', left(error, 4096));
end $$;
