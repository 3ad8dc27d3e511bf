-- The next batch of a consumer, as of _stream_next_batch; and where an engine with rights on the tables finds its events
-- (sql/direct/stream_read.sql, stream_read_part.sql). segment is null when it has to ask _stream_events: for lanes, for what
-- comes again, for a window that is spread over segments, and after a long transaction.
create or replace function trunkline._stream_next_read(session int, consumer int, mode text, member text, max int default null)
returns table (batch text, first_tick bigint, last_tick bigint, attempt int, segment int, since text, until text, lo text, hi text,
               after bigint, upto bigint, file oid, first_row text, last_row text)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v    trunkline.stream_take;
    v_in record;
    v_at trunkline.stream_mark[];
    v_of int;
begin
    select n.batch, n.first_tick, n.last_tick, n.attempt into batch, first_tick, last_tick, attempt
      from trunkline._stream_next_batch(_stream_next_read.session, _stream_next_read.consumer, mode, member,
                                        _stream_next_read.max) n;
    if batch is null then
        return;
    end if;
    select t.* into v from trunkline.stream_take t
     where t.consumer = _stream_next_read.consumer and t.turn = split_part(_stream_next_read.batch, ':', 2)::bigint
       and t.attempt = split_part(_stream_next_read.batch, ':', 3)::int;
    if v.again = '{}' and v.lanes = 1 then
        v_of := (select c.stream from trunkline.stream_consumer c where c.id = v.consumer);
        select * into v_in from trunkline._stream_span(v_of, v.lo, v.hi);
        if v.after > 0 or v.upto is not null then
            v_at := array(select m from trunkline._stream_marks(v_of, v.hi, v.after, v.upto) m);
        end if;
        if cardinality(v_at) = 1 or v_in.segments in (1, 2, 4) and trunkline._log_near(v_in.lo) then
            segment := v_of * 4 + coalesce(v_at[1].segment, v_in.segments / 2);
            since := pg_snapshot_xmin(v_in.lo); until := pg_snapshot_xmax(v_in.hi); lo := v_in.lo; hi := v_in.hi;
            after := v.after; upto := v.upto;
            file := v_at[1].file; first_row := v_at[1].first_row; last_row := v_at[1].last_row;
        end if;
        if cardinality(v_at) > 1 then
            segment := null;
        end if;
    end if;
    return next;
end $$;
