-- Ends a job as done, in the caller's own transaction, with its writes: the effect and the end commit together, or neither.
-- result: what it yielded, kept with the job. Errors: 22023; TL001 when the job is no longer yours: roll back.
-- Guarantee: exactly once for what this transaction writes, at every isolation level. Locks: a held job's row.
create or replace function trunkline.job_complete(claim text, result text default null) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    perform trunkline._job_own_end(claim, 4, 0, true, null, case when result is not null then 1 end, convert_to(result, 'UTF8'));
end $$;
