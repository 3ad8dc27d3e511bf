-- The id of the last event of a consumer's next batch, in a window that is larger than its limits, after those with ids to
-- `after`: null when that is the last of the window. One event at least, whatever its size.
-- Also null when the cursor is so old that its ticks are gone: its turn was taken long ago, which the taker will find.
create or replace function trunkline._stream_part(consumer trunkline.stream_consumer, lo bigint, hi bigint, after bigint)
returns bigint
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_in record;
    v    record;
begin
    if not exists (select from trunkline.stream_tick t where t.stream = consumer.stream and t.id = _stream_part.lo) then
        return null;
    end if;
    select * into v_in from trunkline._stream_span(consumer.stream, lo, hi);
    select max(e.id) filter (where e.n = 1 or e.n <= consumer.max_events and e.bytes <= consumer.max_bytes) as upto,
           max(e.id) as last
      into v
      from (select w.id, row_number() over o as n, sum(octet_length(w.payload)) over o as bytes
              from trunkline._stream_window(consumer.stream, v_in.segments, v_in.lo, v_in.hi, after, null,
                                            consumer.max_events + 1) w
            window o as (order by w.id)) e;
    return nullif(v.upto, v.last);
end $$;
