-- Every stream: the events that can still be read and those of them that no tick covers yet, exactly; the size of each segment in
-- bytes and which of them is filled (1 to 3); ticks per second in the last minute, the newest tick and its age; consumers, and
-- the one that is furthest behind with its lag; who is slow by slow_after; closed, tick_mode, limited_by.
-- Reads what is uncovered, nothing else of the events.
create or replace function trunkline.stream_list()
returns table (stream text, events bigint, uncovered bigint, segment_bytes bigint[], segment int, ticks_per_second float8,
    last_tick bigint, last_tick_age interval, consumers int, furthest_behind text, lag interval, slow text[], closed boolean,
    tick_mode text, limited_by text)
language plpgsql stable security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select s.name, trunkline._stream_count(s.id, s.first_tick, last.id, 0, null) + u.events, u.events,
           array(select pg_relation_size(to_regclass(format('trunkline.stream_event_%s', s.id * 4 + n)))
                   from generate_series(0, 2) n order by n),
           (s.segment & 3) + 1,
           (select count(*) from (select t.at from trunkline.stream_tick t
                                   where t.stream = s.id order by t.id desc limit 60000) t
             where t.at > clock_timestamp() - interval '1 minute') / 60.0::float8,
           last.id, clock_timestamp() - last.at, c.many, low.name,
           case when low.name is not null then clock_timestamp() - low.since end, c.slow, s.closed, s.tick_mode, s.limited_by
      from trunkline.stream s
     cross join lateral (select t.id, t.at from trunkline.stream_tick t where t.stream = s.id order by t.id desc limit 1) last
     cross join lateral trunkline._stream_uncovered(s.id) u
     cross join lateral (
         select count(*)::int as many, coalesce(array_agg(c.name order by c.name) filter (where c.slow_since is not null), '{}') as slow
           from trunkline.stream_consumer c where c.stream = s.id) c
      left join lateral (
         select c.name, trunkline._stream_behind(s.id, trunkline._stream_low(c.id)) as since
           from trunkline.stream_consumer c where c.stream = s.id
          order by trunkline._stream_low(c.id), c.name limit 1) low on low.since is not null
     order by s.name;
end $$;
