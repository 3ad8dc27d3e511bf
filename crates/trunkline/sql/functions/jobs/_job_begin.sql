-- Notes that so many attempts at jobs of a queue, or of a key, begin now: see _job_begun, whose lock the caller holds.
-- The time is rounded up to the 200th part of the period, so that a key has 201 rows at most: late, never early.
create or replace function trunkline._job_begin(queue int, key text, period interval, n int) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_variable
declare
    v_step interval := make_interval(secs => extract(epoch from period)::double precision / 200);
begin
    insert into trunkline.job_start as s (queue, key, at, n)
    values (queue, key, date_bin(v_step, clock_timestamp(), '2000-01-01') + v_step, n)
        on conflict on constraint job_start_pkey do update set n = s.n + excluded.n;
end $$;
