-- Deletes, some thousand at a time, what a stream no longer needs of its books: ticks before the first that is kept, and
-- turns that every open one has left behind. The number deleted.
create or replace function trunkline._stream_tidy(stream int) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v_sum  bigint := 0;
    v_rows bigint;
    v      record;
begin
    delete from trunkline.stream_tick t
     where t.stream = _stream_tidy.stream
       and t.id = any (array(select o.id from trunkline.stream_tick o
                              where o.stream = _stream_tidy.stream
                                and o.id < (select s.first_tick from trunkline.stream s where s.id = _stream_tidy.stream)
                              order by o.id limit 10000));
    get diagnostics v_sum = row_count;
    delete from trunkline.stream_mark m
     where m.stream = _stream_tidy.stream
       and m.tick < (select s.first_tick from trunkline.stream s where s.id = _stream_tidy.stream);
    for v in
        select c.id, l.turn
          from trunkline.stream_consumer c
         cross join lateral (
             select least(t.turn, (select min(o) from unnest(t.open) o)) as turn from trunkline.stream_take t
              where t.consumer = c.id order by t.turn desc, t.attempt desc limit 1) l
         where c.stream = _stream_tidy.stream
    loop
        delete from trunkline.stream_take t where t.consumer = v.id and t.turn < v.turn
           and t.turn < (select min(o.turn) + 10000 from trunkline.stream_take o where o.consumer = v.id);
        get diagnostics v_rows = row_count;
        if v_rows > 0 then
            delete from trunkline.stream_take_end e where e.consumer = v.id
               and e.turn < (select min(t.turn) from trunkline.stream_take t where t.consumer = v.id);
            delete from trunkline.stream_tag e where e.consumer = v.id
               and e.turn < (select min(t.turn) from trunkline.stream_take t where t.consumer = v.id);
        end if;
        v_sum := v_sum + v_rows;
    end loop;
    return v_sum;
end $$;
