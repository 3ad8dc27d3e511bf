-- The window between two ticks of a stream: its snapshots, and the segments in which its events are, as bits.
-- Errors: TL007 when one of the ticks is no longer kept.
create or replace function trunkline._stream_span(stream int, first bigint, last bigint,
                                                  out lo pg_snapshot, out hi pg_snapshot, out segments int)
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    select t.seen into lo from trunkline.stream_tick t where t.stream = _stream_span.stream and t.id = first;
    select t.seen into hi from trunkline.stream_tick t where t.stream = _stream_span.stream and t.id = last;
    if lo is null or hi is null then
        raise exception 'tick % of the stream is no longer kept', case when lo is null then first else last end
            using errcode = 'TL007';
    end if;
    segments := coalesce((select bit_or(t.segments) from trunkline.stream_tick t
                           where t.stream = _stream_span.stream and t.id > first and t.id <= last), 0);
end $$;
