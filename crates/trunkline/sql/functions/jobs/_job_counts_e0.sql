-- How many jobs of each lane wait, run and are done in a segment, and since when the oldest waits: from what slices say of
-- their jobs, without looking at each. Jobs that were cancelled while they wait count as cancelled.
create or replace function trunkline._job_counts_e0()
returns table (lane int, waiting bigint, running bigint, done bigint, cancelled bigint, oldest timestamptz)
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp
set enable_nestloop = off set enable_mergejoin = off set jit = off as $$
#variable_conflict use_column
declare
    v_jobs jsonb := trunkline._job_pushed_e0();
begin
    return query
    with jobs as materialized (
        select j.key::int as lane, j.value::bigint as n from jsonb_each_text(v_jobs) j
    ), parts as (
        select d.slice, bool_or(d.closed and d.slots is null) as spilled, bool_or(not d.closed and d.slots is null) as whole,
               sum(case when not d.closed then bit_count(d.slots) else 0 end) as bits
          from trunkline.job_done_e0 d group by d.slice
    ), ends as (
        select e.slice, count(*) filter (where e.state = 0) as done, count(*) filter (where e.state = 1) as moved
          from trunkline.job_end_e0 e group by e.slice
    ), slices as materialized (
        select s.lane, sum(cardinality(s.ids)) as taken,
               sum(case when p.whole then cardinality(s.ids) else coalesce(p.bits, 0) end + coalesce(e.done, 0)) as done,
               sum(case when p.spilled then cardinality(s.ids) else coalesce(e.moved, 0) end) as moved
          from trunkline.job_slice_e0 s left join parts p on p.slice = s.id left join ends e on e.slice = s.id
         group by s.lane
    ), gone as materialized (                   -- the fences keep it from looking before there is something to look for
        select w.lane, count(*) as n
          from (select c.id from trunkline.job_cancel c offset 0) c
         cross join lateral (select j.id, j.lane from trunkline.job_e0 j where j.id = c.id offset 0) w
         cross join lateral (select count(*) as n from trunkline.job_slice_e0 s where s.lane = w.lane and w.id = any (s.ids)) t
         where t.n = 0
         group by w.lane
    )
    select j.lane, (j.n - coalesce(s.taken, 0) - coalesce(g.n, 0))::bigint,
           (coalesce(s.taken, 0) - coalesce(s.done, 0) - coalesce(s.moved, 0))::bigint, coalesce(s.done, 0)::bigint,
           coalesce(g.n, 0), w.at
      from jobs j left join slices s on s.lane = j.lane left join gone g on g.lane = j.lane
      left join lateral (select * from trunkline._job_oldest_e0(j.lane)) w(at) on true;
end $$;
