-- The consumers of a stream, or (null) of all: whose each is; the tick up to which all is finished; the backlog, exactly (null
-- without `exact`, which reads what no tick covers yet and windows in parts) and as the ticks alone tell; how long the oldest
-- of it waits; the batches in hand, the oldest of them since when, by which session and member, and whether that is still here;
-- how many events come again, how many are dead letters; when it last took or finished something; since when it is slow.
-- Errors: 42704 no such stream.
create or replace function trunkline.stream_consumers(in_stream text default null, exact boolean default true)
returns table (stream text, consumer text, role text, tick bigint, backlog bigint, estimate bigint, lag interval, in_hand int,
    held_since timestamptz, session int, member text, alive boolean, coming_again bigint, dead bigint, last_seen timestamptz,
    slow_since timestamptz)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_in int := case when in_stream is not null then (trunkline._stream_named(in_stream)).id end;
begin
    return query
    select s.name, c.name, c.role, low.id, case when exact then trunkline._stream_backlog(c.id, s.id) + u.events end,
           trunkline._stream_count(s.id, low.id, last.id, 0, null),
           coalesce(clock_timestamp() - coalesce(trunkline._stream_behind(s.id, low.id), u.since), interval '0'),
           h.many, h.taken_at, h.session, h.member, case when h.many > 0 then trunkline._session_alive(h.session) end,
           (select count(*) from trunkline.stream_again a where a.consumer = c.id),
           (select count(*) from trunkline.stream_dead d where d.consumer = c.id),
           greatest((select max(t.taken_at) from trunkline.stream_take t where t.consumer = c.id),
                    (select max(e.ended_at) from trunkline.stream_take_end e where e.consumer = c.id)),
           c.slow_since
      from trunkline.stream s
      join trunkline.stream_consumer c on c.stream = s.id
     cross join lateral (select trunkline._stream_low(c.id) as id) low
     cross join lateral (select max(t.id) as id from trunkline.stream_tick t where t.stream = s.id) last
      left join lateral trunkline._stream_uncovered(s.id) u on exact
     cross join lateral trunkline._stream_in_hand(c.id) h
     where v_in is null or s.id = v_in
     order by s.name, c.name;
end $$;
