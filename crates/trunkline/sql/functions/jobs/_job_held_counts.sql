-- How many jobs of each queue are held, state by state, and since when the oldest could begin. Reads all that is held, by a statement of
-- its own, which several processes may share.
create or replace function trunkline._job_held_counts()
returns table (queue int, waiting bigint, scheduled bigint, running bigint, retrying bigint, done bigint, dead bigint,
               cancelled bigint, oldest timestamptz)
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp set jit = off as $$
#variable_conflict use_column
declare
    v_now timestamptz := clock_timestamp();
begin
    return query
    select h.lane >> 4, count(*) filter (where h.state = 5 or h.state = 0 and h.attempt = 0 and h.due_at <= v_now),
           count(*) filter (where h.state = 0 and h.attempt = 0 and h.due_at > v_now), count(*) filter (where h.state = 1),
           count(*) filter (where h.state = 0 and h.attempt > 0), count(*) filter (where h.state = 4),
           count(*) filter (where h.state = 2), count(*) filter (where h.state = 3),
           min(h.due_at) filter (where h.state = 0 and h.due_at <= v_now)
      from trunkline.job_held h group by h.lane >> 4;
end $$;
