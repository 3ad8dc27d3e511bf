-- Notes how far a job has come, for people who look (job_show, job_result): 0 to 100 percent, and a message of at most 1,000
-- bytes. It stays through the next attempts, and is forgotten with the job. Commit it, or nobody sees it.
-- Errors: 22023; TL001 when the job is no longer yours. Locks: the progress's row.
create or replace function trunkline.job_progress(claim text, percent int, message text default null) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v record;
begin
    select * into v from trunkline._job_claim(claim);
    if not trunkline._job_progress(v.source, v.number, v.token, v.slot, v.job, percent, message) then
        raise exception 'the job is no longer yours: it ended, or was handed on' using errcode = 'TL001';
    end if;
end $$;
