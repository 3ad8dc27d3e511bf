-- In how many ms the next schedule is due, 0 or less when one is; null when none will be.
create or replace function trunkline._job_schedule_wait() returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return (select ceil(extract(epoch from min(greatest(coalesce(s.next_at, s.since), s.tried_at + interval '1 minute'))
                                           - clock_timestamp()) * 1000)::bigint
              from trunkline.job_schedule s where s.paused_at is null);
end $$;
