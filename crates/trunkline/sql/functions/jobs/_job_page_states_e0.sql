-- The jobs in these rows of a segment with their states, those left out that went to where jobs are held: for _job_page_e0.
-- since: no slice that was taken before has any of them; null where that is not known.
create or replace function trunkline._job_page_states_e0(places tid[], since timestamptz)
returns table (id bigint, lane int, job_kind text, job_state text, attempt int, max_attempts int, at timestamptz, due_at timestamptz,
               begun_at timestamptz, ended_at timestamptz, session int, key text, error text)
language sql stable set search_path = pg_catalog, trunkline, pg_temp set jit = off as $$
    with j as materialized (
        select j.id, j.xid, j.lane, j.kind, j.flags, j.at from trunkline.job_e0 j where j.ctid = any (places)
    ), span as materialized (
        select min(j.xid) as lo, max(j.xid) as hi, min(j.id) as first, max(j.id) as last from j
    )
    select j.id, j.lane, j.kind,
           case when t.slice is null then case when c.id is null then 'waiting' else 'cancelled' end
                when e.state = 0 or d.at is not null then 'done' else 'running' end,
           (t.slice is not null)::int, coalesce(nullif(j.flags >> 8, 0), q.max_attempts), j.at, j.at, t.taken_at,
           coalesce(e.at, d.at, case when t.slice is null then c.at end), t.session, null::text, null::text
      from j
      join trunkline.job_queue q on q.id = j.lane >> 4
      left join (select s.id as slice, s.session, s.taken_at, u.id, u.slot::int as slot
                   from span join trunkline.job_slice_e0 s on s.upto_xid >= span.lo and s.from_xid <= span.hi
                  cross join lateral unnest(s.ids) with ordinality u(id, slot)
                  where (since is null or s.taken_at >= since) and u.id between span.first and span.last) t on t.id = j.id
      left join lateral (select e.state, e.at from trunkline.job_end_e0 e      -- by its index: there may be as many as jobs
                          where e.slice = t.slice and e.slot = t.slot limit 1) e on true
      left join trunkline.job_done_e0 d
        on d.slice = t.slice and (d.slots is null or octet_length(d.slots) * 8 >= t.slot and get_bit(d.slots, t.slot - 1) = 1)
      left join trunkline.job_cancel c on c.id = j.id
     where e.state is distinct from 1 and d.closed is not true
$$;
