-- How long until a job that failed comes again: twice as long each time, from the queue's retry_after to its retry_most,
-- between half and the whole of that by chance, so that what failed together does not come again together.
create or replace function trunkline._job_backoff(lane int, attempt int) returns interval
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v trunkline.job_queue;
begin
    select * into v from trunkline.job_queue q where q.id = lane >> 4;
    return least(v.retry_most, v.retry_after * 2 ^ least(attempt - 1, 30)) * (0.5 + random() / 2);
end $$;
