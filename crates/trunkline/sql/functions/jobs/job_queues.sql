-- Queues with how many jobs each has in each state, the age of the oldest that could run, and settings (see job_set). Done
-- jobs of the rings count until their segment is emptied. Reads all that is held, and what the rings say of their slices.
-- Where more than 32 MiB are held, they are as the duties counted them: held_counted_at, some seconds ago; else null, and now.
create or replace function trunkline.job_queues()
returns table (queue text, durable boolean, paused_at timestamptz, waiting bigint, scheduled bigint, running bigint,
               retrying bigint, done bigint, dead bigint, cancelled bigint, oldest interval, max_running int, max_attempts int,
               settings jsonb, held_counted_at timestamptz)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp set jit = off as $$
#variable_conflict use_column
declare
    v_now  timestamptz := clock_timestamp();
    v_held trunkline.job_held_counted := trunkline._job_held_counted();
begin
    return query
    with counts as (
        select c.lane >> 4 as queue, c.waiting, 0::bigint as scheduled, c.running, 0::bigint as retrying, c.done,
               0::bigint as dead, c.cancelled, c.oldest
          from (select * from trunkline._job_counts_e0() union all select * from trunkline._job_counts_e1()
                union all select * from trunkline._job_counts_d0() union all select * from trunkline._job_counts_d1()) c
        union all
        select h.queue, h.waiting, h.scheduled, h.running, h.retrying, h.done, h.dead, h.cancelled, h.oldest
          from trunkline._job_held_counts() h where v_held.at is null
        union all
        select h.queue, h.waiting, h.scheduled, h.running, h.retrying, h.done, h.dead, h.cancelled, h.oldest
          from jsonb_to_recordset(v_held.queues) h (queue int, waiting bigint, scheduled bigint, running bigint, retrying bigint,
                                                    done bigint, dead bigint, cancelled bigint, oldest timestamptz)
    ), sums as (
        select c.queue, sum(c.waiting)::bigint as waiting, sum(c.scheduled)::bigint as scheduled, sum(c.running)::bigint as running,
               sum(c.retrying)::bigint as retrying, sum(c.done)::bigint as done, sum(c.dead)::bigint as dead,
               sum(c.cancelled)::bigint as cancelled, min(c.oldest) as oldest
          from counts c group by c.queue
    )
    select q.name, q.durable, q.paused_at, coalesce(s.waiting, 0), coalesce(s.scheduled, 0), coalesce(s.running, 0),
           coalesce(s.retrying, 0), coalesce(s.done, 0), coalesce(s.dead, 0), coalesce(s.cancelled, 0), v_now - s.oldest,
           q.max_running, q.max_attempts,
           to_jsonb(q) - array['id', 'name', 'durable', 'paused_at', 'made_at', 'held', 'limited'], v_held.at
      from trunkline.job_queue q left join sums s on s.queue = q.id
     order by q.name;
end $$;
