-- The events of a stream that no tick covers yet: how many, and since when there is one. Reads them.
create or replace function trunkline._stream_uncovered(stream int, out events bigint, out since timestamptz)
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    select count(*), min(w.at) into events, since
      from trunkline._stream_window(_stream_uncovered.stream, 7, (
               select t.seen from trunkline.stream_tick t where t.stream = _stream_uncovered.stream order by t.id desc limit 1),
               pg_current_snapshot(), 0, null, null) w;
end $$;
