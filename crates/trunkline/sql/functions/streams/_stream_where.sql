-- Where an engine with rights on the tables finds the events with ids in (after, upto] of the window between two ticks, by
-- sql/direct/stream_read.sql or, in a large window, stream_read_part.sql. segment is null when it has to ask: for a
-- window that is spread over segments, and after a long transaction. Errors: TL007 as _stream_span.
create or replace function trunkline._stream_where(stream int, first bigint, last bigint, after bigint, upto bigint,
    out segment int, out since text, out until text, out lo text, out hi text, out file oid, out first_row text, out last_row text)
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_in record;
    v_at trunkline.stream_mark[];
begin
    select * into v_in from trunkline._stream_span(stream, first, last);
    if after > 0 or upto is not null then
        v_at := array(select m from trunkline._stream_marks(stream, last, after, upto) m);
    end if;
    if cardinality(v_at) = 1 or v_in.segments in (1, 2, 4) and trunkline._log_near(v_in.lo) and coalesce(cardinality(v_at), 0) = 0 then
        segment := stream * 4 + coalesce(v_at[1].segment, v_in.segments / 2);
        since := pg_snapshot_xmin(v_in.lo); until := pg_snapshot_xmax(v_in.hi); lo := v_in.lo; hi := v_in.hi;
        file := v_at[1].file; first_row := v_at[1].first_row; last_row := v_at[1].last_row;
    end if;
end $$;
