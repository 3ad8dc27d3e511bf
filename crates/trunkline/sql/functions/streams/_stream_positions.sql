-- The ticks of a stream that somebody stands at: the ends of every consumer's newest batch and of its open ones, the first that
-- is kept, and the last.
create or replace function trunkline._stream_positions(stream int) returns bigint[]
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return array(
        select p.tick
          from trunkline.stream_consumer c
         cross join lateral (select t.open || t.turn as turns from trunkline.stream_take t
                              where t.consumer = c.id order by t.turn desc, t.attempt desc limit 1) n
          join trunkline.stream_take t on t.consumer = c.id and t.turn = any (n.turns)
         cross join lateral (values (t.lo), (t.hi)) p(tick)
         where c.stream = _stream_positions.stream
        union select s.first_tick from trunkline.stream s where s.id = _stream_positions.stream
        union select max(t.id) from trunkline.stream_tick t where t.stream = _stream_positions.stream);
end $$;
