-- Hands on held jobs that a dead session was working on: each comes again, at once for the first three attempts, then by the
-- queue's backoff; the last one is dead. `lost`: as in _job_abandon_e0. How many. Locks: the rows.
create or replace function trunkline._job_abandon_held(session int, lost bigint default null) returns int
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v record;
begin
    select array_agg(h.id) as ids, array_agg(h.token) as tokens, array_agg(0) as states,
           array_agg(case when h.attempt <= 3 then 0::bigint end) as delays, array_agg(lost is null) as counted,
           array_agg(case when lost is null then 'the worker''s process ended, or was cut off' end) as errors,
           array_agg(null::int) as contents, array_agg(null::bytea) as results
      into v
      from trunkline.job_held h
     where h.session = _job_abandon_held.session and h.state = 1 and (lost is null or h.token = lost);
    if v.ids is null then
        return 0;
    end if;
    return cardinality(trunkline._job_settle(v.ids, v.tokens, v.states, v.delays, v.counted, v.errors, v.contents, v.results));
end $$;
