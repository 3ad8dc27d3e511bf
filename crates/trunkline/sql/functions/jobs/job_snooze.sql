-- Puts a job off: it comes again after a while, and this attempt does not count. Errors: 22004, 22023; TL001 when the job is no
-- longer yours.
create or replace function trunkline.job_snooze(claim text, delay interval) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if delay is null then
        raise exception 'delay must not be null' using errcode = '22004';
    end if;
    perform trunkline._job_own_end(claim, 0, trunkline._job_ms('delay', delay), false, null, null, null);
end $$;
