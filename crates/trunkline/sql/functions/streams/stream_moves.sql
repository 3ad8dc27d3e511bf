-- Who moved which consumer of a stream, or (null) of any, from which tick to which, newest first, at most `max`, and with an id below
-- `before` where that is given; to_tick is null for one that was removed because it was slow. Errors: 22004, 22023 for max.
create or replace function trunkline.stream_moves(in_stream text default null, max int default 100, before bigint default null)
returns table (moved_at timestamptz, stream text, consumer text, role text, from_tick bigint, to_tick bigint,
               id bigint)
language plpgsql stable security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    perform trunkline._stream_check_page(stream_moves.max, 0);
    return query
    select m.moved_at, m.stream, m.consumer, m.role, m.from_tick, m.to_tick, m.id
      from trunkline.stream_move m
     where (in_stream is null or m.stream = in_stream) and (stream_moves.before is null or m.id < stream_moves.before)
     order by m.id desc limit stream_moves.max;
end $$;
