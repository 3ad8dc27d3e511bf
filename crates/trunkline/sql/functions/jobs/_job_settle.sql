-- Ends attempts at held jobs: the places, in the order given, of those that were ended; the token of others is stale.
-- states: 4 done, 0 comes again after so many ms (null: by the queue's backoff; dead when it was the last attempt), 2 dead, 3
-- cancelled. counted: false when this attempt does not count. Locks: their keys, in the order of their locks, before the rows.
create or replace function trunkline._job_settle(ids bigint[], tokens bigint[], states int[], delays bigint[],
    counted boolean[], errors text[], contents int[], results bytea[]) returns int[]
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_one   record;
    v_ended int[] := array[]::int[];
    v_over  bigint[] := array[]::bigint[];
    v_lanes int[] := array[]::int[];        -- of keys
    v_keys  text[] := array[]::text[];
    v_rings int[] := array[]::int[];        -- that were rung for what comes again, or has room now
begin
    perform pg_advisory_xact_lock(1953656434, k.lock)
       from (select distinct hashtext((h.lane >> 4) || ' ' || h.key) as lock from trunkline.job_held h
              where h.id = any (ids) and h.key is not null order by 1) k;
    for v_one in
        with u as materialized (
            select * from unnest(ids, tokens, states, delays, counted, errors, contents, results) with ordinality
                          u(id, token, state, ms, counted, error, content, result, n)
        ), held as materialized (
            select o.id, u.n, u.ms, u.counted, u.error, u.content, u.result, u.token,
                   case when u.state <> 0 then u.state
                        when exists (select from trunkline.job_cancel c where c.id = o.id) then 3
                        when u.counted and o.attempt >= o.max_attempts then 2 else 0 end as state
              from u join trunkline.job_held o on o.id = u.id
             where o.token = u.token                        -- it runs then; asked for the state, a plan reads all that run
             order by o.id for update of o
        )
        update trunkline.job_held h
           set state = u.state, attempt = h.attempt - (not u.counted)::int, session = null, token = null,
               due_at = case when u.state <> 0 then h.due_at
                             else clock_timestamp() + coalesce(u.ms * interval '1 ms', trunkline._job_backoff(h.lane, h.attempt)) end,
               ended_at = case when u.state <> 0 then clock_timestamp() end,
               errors = case when u.error is null then h.errors else trunkline._job_errors(h.errors, h.attempt, u.error) end,
               result = u.result, result_content = u.content
          from held u
         where h.id = u.id and h.token = u.token
        returning u.n::int as n, h.id, h.lane, h.key, h.state
    loop
        v_ended := v_ended || v_one.n;
        if v_one.state <> 0 then
            v_over := v_over || v_one.id;
        end if;
        if v_one.key is not null then                       -- also when it comes again: an older one may wait behind it
            v_lanes := v_lanes || v_one.lane;
            v_keys := v_keys || v_one.key;
        elsif not v_one.lane = any (v_rings)
              and (v_one.state = 0 or exists (select from trunkline.job_queue q where q.id = v_one.lane >> 4 and q.limited)) then
            v_rings := v_rings || v_one.lane;
            perform trunkline._door_ring(-65 - (v_one.lane >> 4 & 63));
        end if;
    end loop;
    if v_keys <> '{}' then
        perform trunkline._job_promote_all(v_lanes, v_keys, true);
    end if;
    if v_over <> '{}' then
        perform trunkline._job_tell(v_over);
    end if;
    return v_ended;
end $$;
