-- Ends an attempt at a job as failed, with what went wrong. It comes again after retry_in, or by its queue's backoff; after
-- the last of its attempts, or with `dead`, it is a dead letter. Errors: 22023; TL001 when the job is no longer yours.
create or replace function trunkline.job_fail(claim text, error text, retry_in interval default null, dead boolean default false)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    perform trunkline._job_own_end(claim, case when dead then 2 else 0 end, trunkline._job_ms('retry_in', retry_in), true,
                                   coalesce(error, 'failed'), null, null);
end $$;
