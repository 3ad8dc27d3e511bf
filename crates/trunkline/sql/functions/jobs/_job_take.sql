-- Takes jobs of some queues for a worker's process, at most `most`: packed by where they came from, the oldest first of what
-- was held, then of the ring; the most urgent priority first, or with `fair` the least urgent, lest it starves.
-- source: 0 to 3 a segment of the rings (slice and token are the claim), 4 held (id and token). Nothing of a paused queue,
-- of one that is held only what is held, and of one with a limit no more than that lets begin (_job_room_e): then room and rate
-- say how many more that is, and limited, since and version where the short way goes on (null: it does not). more: look again at
-- once. cancels: some of it may be cancelled already.
-- token: drawn by the taker, so that it can give back what a lost answer kept from it (_job_return).
-- Errors: 25001 outside READ COMMITTED, TL001 for a session that is not this connection's.
create or replace function trunkline._job_take(session int, queues int[], most int, polite boolean, fair boolean, token bigint)
returns table (source int, lane int, more boolean, slice bigint, ids bigint[], attempts int[], most_attempts int[],
               ats timestamptz[], flags int[], kinds text[], payloads bytea[], headers text[], keys text[], turn bigint,
               lo pg_snapshot, hi pg_snapshot, pos_xid xid8, pos_id bigint, cancels boolean, room int, rate int, limited bigint,
               since bigint, version text)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_lane    record;
    v         record;
    v_segment int;
    v_left    int := least(most, 10000);
    v_may     int;                                          -- of this lane
    v_first   int;                                          -- as it was at first
    v_taken   int;                                          -- that, less what was cancelled before it could begin
    v_room    int;                                          -- by the limits, see _job_room_e
    v_rate    int;
    v_turn    bigint;
    v_since   bigint;
    v_cancels boolean := exists (select from trunkline.job_cancel);
begin
    perform trunkline._check_read_committed('taking jobs');
    -- A burial, and who gives back a lost answer, wait for this take, whatever it takes.
    if polite then
        perform pg_advisory_xact_lock_shared(1953656431, session);
    end if;
    perform trunkline._job_session(session);
    for v_lane in
        select q.id * 16 + p.priority as lane, q.durable, q.held, q.limited, q.max_attempts,
               q.xmin::text as version                      -- before all that is decided by it
          from unnest(queues) with ordinality u(id, n) join trunkline.job_queue q on q.id = u.id
          join trunkline.job_priority p on p.queue = q.id
         where q.paused_at is null
         order by case when fair then -p.priority else p.priority end, u.n
    loop
        exit when v_left <= 0;
        v_may := v_left;
        if v_lane.limited then
            if v_lane.durable then
                select * into v_room, v_rate, v_turn, v_since from trunkline._job_room_d(v_lane.lane >> 4);
            else
                select * into v_room, v_rate, v_turn, v_since from trunkline._job_room_e(v_lane.lane >> 4);
            end if;
            if v_room is null and polite then          -- somebody else is taking
                return query select 4, v_lane.lane, true, null::bigint, null::bigint[], null::int[], null::int[],
                                    null::timestamptz[], null::int[], null::text[], null::bytea[], null::text[], null::text[],
                                    null::bigint, null::pg_snapshot, null::pg_snapshot, null::xid8, null::bigint, v_cancels,
                                    0, 0, null::bigint, null::bigint, null::text;
            end if;
            v_may := least(coalesce(v_room, 0), v_rate, v_left);
            continue when v_may = 0;
        end if;
        v_first := v_may;
        v_taken := v_may;
        if v_lane.held then                                 -- pushed before there was a limit
            perform case when v_lane.durable
                then trunkline._job_spill_d0(v_lane.lane, 1000) + trunkline._job_spill_d1(v_lane.lane, 1000)
                else trunkline._job_spill_e0(v_lane.lane, 1000) + trunkline._job_spill_e1(v_lane.lane, 1000) end;
        end if;
        select array_agg(h.id) as ids, array_agg(h.attempt) as attempts, array_agg(h.max_attempts) as most_attempts,
               array_agg(h.at) as ats, array_agg(h.content::int) as flags, array_agg(h.kind) as kinds,
               array_agg(h.payload) as payloads, array_agg(h.headers) as headers, array_agg(h.key) as keys
          into v from trunkline._job_take_held(session, v_lane.lane, v_may, token) h;
        if v.ids is not null then
            v_may := v_may - cardinality(v.ids);
            if v_lane.limited and v_turn is not null then   -- who counted before it goes the short way no more
                insert into trunkline.job_limited (queue, turn, slice, since) values (v_lane.lane >> 4, v_turn, 0, v_since);
                v_turn := v_turn + 1;
            end if;
            return query select 4, v_lane.lane, true, null::bigint, v.ids, v.attempts, v.most_attempts, v.ats, v.flags, v.kinds,
                                v.payloads, v.headers, v.keys, null::bigint, null::pg_snapshot, null::pg_snapshot,
                                null::xid8, null::bigint, v_cancels, case when v_lane.limited then 0 end, 0, null::bigint,
                                null::bigint, null::text;
        end if;
        -- What was written before the ring turned comes first.
        for v_segment in
            select s + case when v_lane.durable then 2 else 0 end
              from trunkline.ring r cross join lateral unnest(array[1 - r.current, r.current]) s
             where r.name = case when v_lane.durable then 'job_d' else 'job_e' end and not v_lane.held
        loop
            exit when v_may <= 0;
            select * into v from trunkline._job_slice(v_segment, session, v_lane.lane, v_may, polite, token);
            continue when v.state is null;
            if v.state = 0 then
                v_may := v_may - cardinality(v.ids);
            end if;
            if v.state = 0 and v_lane.limited then
                if v_cancels then                           -- those do not begin
                    v_taken := v_taken - (select count(*)::int from trunkline.job_cancel c where c.id = any (v.ids));
                end if;
                insert into trunkline.job_limited (queue, turn, slice, since)
                select v_lane.lane >> 4, v_turn, v.slice, v_since where v_turn is not null;
                if v_since = v_turn then                    -- nothing ran before it, and nobody looks there again
                    delete from trunkline.job_limited l where l.queue = v_lane.lane >> 4 and l.turn = v_turn - 1;
                end if;
                v_turn := v_turn + 1;
            end if;
            return query select v_segment, v_lane.lane, v.more and v_may > 0, v.slice, case when v.state = 0 then v.ids end,
                                null::int[], array[v_lane.max_attempts], v.ats, v.flags, v.kinds, v.payloads, v.headers,
                                null::text[], v.turn, v.lo, v.hi, v.pos_xid, v.pos_id, v_cancels,
                                case when v_lane.limited then v_room - (v_first - v_may) end, v_rate - (v_first - v_may), v_turn - 1,
                                v_since, v_lane.version;
        end loop;
        v_left := v_left - (v_first - v_may);
        if v_lane.limited and v_taken > v_may then
            perform trunkline._job_begin(q.id, '', q.rate_period, v_taken - v_may)
               from trunkline.job_queue q where q.id = v_lane.lane >> 4 and q.rate_limit > 0;
        end if;
    end loop;
end $$;
