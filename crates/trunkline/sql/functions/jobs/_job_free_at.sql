-- When the next attempt may begin by a limit of rate: null for at once. See _job_begun.
create or replace function trunkline._job_free_at(queue int, key text, rate int, period interval) returns timestamptz
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
    return (select case when sum(s.n) >= rate then min(s.at) + period end from trunkline.job_start s
             where s.queue = _job_free_at.queue and s.key = _job_free_at.key and s.at > (select clock_timestamp() - period));
end $$;
