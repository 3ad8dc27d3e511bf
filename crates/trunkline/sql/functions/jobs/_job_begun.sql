-- How many attempts at jobs of a queue, or with '=' before it of a key, began within the last `period`; what began earlier is
-- forgotten. The caller holds the queue's advisory lock, or the key's.
create or replace function trunkline._job_begun(queue int, key text, period interval) returns int
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
    delete from trunkline.job_start s
     where s.queue = _job_begun.queue and s.key = _job_begun.key and s.at <= (select clock_timestamp() - period);
    return (select coalesce(sum(s.n), 0)::int from trunkline.job_start s
             where s.queue = _job_begun.queue and s.key = _job_begun.key);
end $$;
