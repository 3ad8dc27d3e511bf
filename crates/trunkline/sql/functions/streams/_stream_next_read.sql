-- The next batch of a consumer, as of _stream_next_batch; and where an engine with rights on the tables finds its events
-- (_stream_where). segment is null when it has to ask _stream_events: for lanes, for what comes again, and where
-- _stream_where says so. A second row, without a batch, says where those of the next one will be, so that they can be read
-- ahead: while this is a part of a large window, and its members do not share. It is not taken, and a guess: limits may
-- change, and what comes again take its share.
create or replace function trunkline._stream_next_read(session int, consumer int, mode text, member text, max int default null)
returns table (batch text, first_tick bigint, last_tick bigint, attempt int, segment int, since text, until text, lo text, hi text,
               after bigint, upto bigint, file oid, first_row text, last_row text)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v    trunkline.stream_take;
    v_of trunkline.stream_consumer;
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
    select * into v_of from trunkline.stream_consumer c where c.id = v.consumer;
    if v.again = '{}' and v.lanes = 1 then
        after := v.after; upto := v.upto;
        select w.* into segment, since, until, lo, hi, file, first_row, last_row
          from trunkline._stream_where(v_of.stream, v.lo, v.hi, v.after, v.upto) w;
    end if;
    return next;
    if segment is not null and v.upto is not null and mode <> 'share' then
        v_of.max_events := least(v_of.max_events, _stream_next_read.max);
        batch := null; after := v.upto; upto := trunkline._stream_part(v_of, v.lo, v.hi, v.upto);
        select w.* into segment, since, until, lo, hi, file, first_row, last_row
          from trunkline._stream_where(v_of.stream, v.lo, v.hi, after, upto) w;
        return next;
    end if;
end $$;
