-- Who moved which consumer of a stream, or (null) of any, from which tick to which, newest first, at most `max`; to_tick is null
-- for one that was removed because it was slow. Errors: 22004, 22023 for max.
create or replace function trunkline.stream_moves(in_stream text default null, max int default 100)
returns table (moved_at timestamptz, stream text, consumer text, role text, from_tick bigint, to_tick bigint)
language plpgsql stable security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    perform trunkline._stream_check_page(stream_moves.max, 0);
    return query
    select m.moved_at, m.stream, m.consumer, m.role, m.from_tick, m.to_tick
      from trunkline.stream_move m
     where in_stream is null or m.stream = in_stream
     order by m.id desc limit stream_moves.max;
end $$;
