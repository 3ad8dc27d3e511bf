-- Takes the next jobs of a queue for this connection: at most `max` rows, none when there is nothing, or the queue is paused.
-- Commit, do each, then job_complete, job_fail or job_snooze with its claim. When this connection ends before, they come
-- again. payload is null for bytes. Errors: 42704 no such queue, 25001 outside READ COMMITTED, 22023.
create or replace function trunkline.job_take(queue text, max int default 1)
returns table (id bigint, claim text, kind text, payload text, bytes bytea, headers jsonb, key text, attempt int, at timestamptz)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp set lock_timeout = '2s' as $$
#variable_conflict use_column
declare
    v       trunkline.job_queue := trunkline._job_named(queue);
    v_token bigint := uuid_hash_extended(gen_random_uuid(), 0);
    v_since timestamptz := clock_timestamp();
begin
    if job_take.max is null or job_take.max not between 1 and 10000 then
        raise exception 'max must be 1 to 10000, got %', coalesce(job_take.max::text, 'null') using errcode = '22023';
    end if;
    loop
        return query
        with taken as materialized (
            select t.source, case when t.source = 4 then u.id else t.slice end as number,
                   case when t.source = 4 then 0 else u.n::int end as slot, u.*
              from trunkline._job_take(trunkline._session_own(), array[v.id], max, true, false, v_token) t
             cross join lateral unnest(t.ids, t.kinds, t.flags, t.payloads, t.headers, t.keys, t.attempts, t.ats) with ordinality
                   u(id, kind, flags, payload, header, key, attempt, at, n)
        ), cancelled as materialized (
            select trunkline._job_end(array_agg(t.source), array_agg(t.number), array_agg(v_token), array_agg(t.slot), array_agg(3),
                       array_agg(0::bigint), array_agg(false), array_agg(null::text), array_agg(null::int), array_agg(null::bytea))
              from taken t join trunkline.job_cancel c on c.id = t.id having count(*) > 0
        )
        select t.id, concat_ws(':', t.source, t.number, v_token, t.slot, t.id), t.kind,
               case when t.flags & 3 <> 0 then trunkline._request_text(t.payload) end, t.payload,
               trunkline._request_headers(t.header), t.key, coalesce(t.attempt, 1), t.at
          from taken t
         where not exists (select from trunkline.job_cancel c where c.id = t.id) and (select count(*) from cancelled) >= 0;
        -- What was cancelled before it was taken is no reason to come back with nothing.
        exit when found or not exists (select from trunkline.job_held h
                                        where h.state in (2, 3, 4) and h.state = 3 and h.ended_at >= v_since and h.lane >> 4 = v.id);
        v_since := clock_timestamp();
    end loop;
end $$;
