-- How many jobs of each lane were ever pushed into a segment. Where nothing was counted yet it reads them all, by a statement of its own,
-- which several processes may share.
create or replace function trunkline._job_pushed_e0() returns jsonb
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp set jit = off as $$
declare
    v_jobs jsonb := trunkline._job_since_e0();
begin
    if v_jobs is null then
        v_jobs := (select jsonb_object_agg(c.lane, c.n)
                     from (select j.lane, count(*) as n from trunkline.job_e0 j group by j.lane) c);
    end if;
    return v_jobs;
end $$;
