-- The id of the last event of a consumer's next batch, in a window that is larger than its limits, after those with ids to
-- `after`: null when that is the last of the window. One event at least, whatever its size. A part of a large window ends
-- at a mark (see stream_mark), or before the first one where that alone is too much; only then is anything read.
-- Also null when the cursor is so old that its ticks are gone: its turn was taken long ago, which the taker will find.
create or replace function trunkline._stream_part(consumer trunkline.stream_consumer, lo bigint, hi bigint, after bigint)
returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_mark bigint;
    v_last bigint;
    v_upto bigint;
    v      record;
begin
    if not exists (select from trunkline.stream_tick t where t.stream = consumer.stream and t.id = _stream_part.lo) then
        return null;
    end if;
    select m.upto into v_mark from trunkline.stream_mark m
     where m.stream = consumer.stream and m.tick = _stream_part.hi and m.upto > _stream_part.after order by m.upto limit 1;
    select m.upto into v_last from trunkline.stream_mark m
     where m.stream = consumer.stream and m.tick = _stream_part.hi order by m.upto desc limit 1;
    if not exists (select from trunkline.stream_mark m where m.stream = consumer.stream and m.tick = _stream_part.hi
                      and m.upto = v_mark and m.after < _stream_part.after) then
        select max(g.upto) filter (where g.events <= consumer.max_events and g.bytes <= consumer.max_bytes) into v_upto
          from (select m.upto, sum(sum(m.events)) over w as events, sum(sum(m.bytes)) over w as bytes
                  from trunkline.stream_mark m
                 where m.stream = consumer.stream and m.tick = _stream_part.hi and m.upto > _stream_part.after
                 group by m.upto window w as (order by m.upto)
                 order by m.upto limit greatest(consumer.max_events / 500, 50) + 2) g;
        if v_upto is not null then
            return nullif(v_upto, v_last);
        end if;
    end if;
    select max(e.id) filter (where e.n = 1 or e.n <= consumer.max_events and e.bytes <= consumer.max_bytes) as upto,
           max(e.id) as last
      into v
      from (select w.id, row_number() over o as n, sum(octet_length(w.payload)) over o as bytes
              from trunkline._stream_rows(consumer.stream, lo, hi, true, _stream_part.after, v_mark, consumer.max_events + 1) w
            window o as (order by w.id)) e;
    return case when v.upto < v.last then v.upto when v_mark < v_last then v_mark end;
end $$;
