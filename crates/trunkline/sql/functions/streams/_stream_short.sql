-- The next batch of a consumer in the usual case, by few statements: state 0 with a batch, 2 when there is nothing, and no row
-- when the case is another, for which _stream_take and _stream_next are: lanes, parts of a large window, what comes again,
-- what is not finished, settings that hold events back, a transaction that has written before. What they guarantee holds
-- here: who follows the newest turn first has the batch, and that turn must still be on the books.
create or replace function trunkline._stream_short(session int, consumer int, member text, max int)
returns table (state int, batch text, first_tick bigint, last_tick bigint, attempt int)
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v        record;
    v_hi     bigint;
    v_events bigint;
    v_bytes  bigint;
    v_ticks  bigint;
    v_token  bigint := uuid_hash_extended(gen_random_uuid(), 0);
begin
    select c.stream, s.tick_mode, least(c.max_events, _stream_short.max) as max_events, c.max_bytes,
           t.turn, t.attempt, t.hi, k.id as last, k.seen
      into v
      from trunkline.stream_consumer c
      join trunkline.stream s on s.id = c.stream
     cross join lateral (select * from trunkline.stream_take t where t.consumer = c.id order by t.turn desc, t.attempt desc limit 1) t
     cross join lateral (select * from trunkline.stream_tick k where k.stream = c.stream order by k.id desc limit 1) k
     where c.id = _stream_short.consumer and c.lanes = 1 and c.min_events = 0 and c.min_lag = interval '0'
       and t.open = '{}' and t.upto is null and k.id >= t.hi
       and (select e.finished from trunkline.stream_take_end e
             where e.consumer = c.id and e.turn = t.turn and e.attempt = t.attempt)
       and (select true from trunkline.stream_again a where a.consumer = c.id and a.due_at <= (select clock_timestamp()) limit 1) is null;
    if v.turn is null or current_setting('transaction_isolation') <> 'read committed' or pg_current_xact_id_if_assigned() is not null then
        return;
    end if;
    if v.last > v.hi then                                  -- others have ticked
        select max(k.id), sum(k.events), sum(k.bytes), count(*) into v_hi, v_events, v_bytes, v_ticks
          from (select * from trunkline.stream_tick k where k.stream = v.stream and k.id > v.hi order by k.id limit 100) k;
    end if;
    if v_ticks = 100 or coalesce(v_events, 0) = 0 and v.tick_mode <> 'auto' then
        return;
    elsif coalesce(v_events, 0) = 0 then
        select k.id, k.events, k.bytes into v_hi, v_events, v_bytes
          from trunkline._stream_tick_short(v.stream, v.last, v.seen) k;
        if v_events = 0 then
            return query select 2, null::text, null::bigint, null::bigint, null::int;
            return;
        end if;
    end if;
    if v_hi is null or v_events > v.max_events or v_bytes > v.max_bytes then
        return;
    end if;
    insert into trunkline.stream_take (consumer, turn, attempt, lo, hi, after, again, open, token, session, member)
    values (_stream_short.consumer, v.turn + 1, 1, v.hi, v_hi, 0, '{}', '{}', v_token, _stream_short.session, _stream_short.member)
        on conflict do nothing;
    if not found then
        return;
    end if;
    perform from trunkline.stream_take t
      where t.consumer = _stream_short.consumer and t.turn = v.turn and t.attempt = v.attempt for key share;
    if found then
        return query select 0, concat_ws(':', _stream_short.consumer, v.turn + 1, 1, v_token), v.hi, v_hi, 1;
        return;
    end if;
    delete from trunkline.stream_take t
     where t.consumer = _stream_short.consumer and t.turn = v.turn + 1 and t.token = v_token;
end $$;
