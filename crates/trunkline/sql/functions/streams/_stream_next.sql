-- The batch after a consumer's newest turn, not handed out yet: what is due to come again, up to half of its limits; and as
-- many ticks as fit the rest of them, or a part of one that is larger. With `most`, that many events at most, of both kinds
-- together. A row of nulls when there is nothing, or not enough.
create or replace function trunkline._stream_next(cursor trunkline.stream_take, open bigint[], most int)
returns trunkline.stream_take
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_of   trunkline.stream_consumer;
    v_new  trunkline.stream_take;
    v_hi   bigint;
    v_big  boolean;
    v_sum  record;
begin
    select * into v_of from trunkline.stream_consumer c where c.id = cursor.consumer;
    v_of.max_events := least(v_of.max_events, most);
    v_new.consumer := cursor.consumer;
    v_new.attempt := 1;
    v_new.open := _stream_next.open;
    select coalesce(array_agg(g.id), '{}') as ids, count(*) as events, coalesce(max(g.bytes), 0) as bytes into v_sum
      from (select a.id, row_number() over w as n, sum(octet_length(a.payload)) over w as bytes
              from trunkline.stream_again a
             where a.consumer = cursor.consumer and a.due_at <= (select clock_timestamp())
               and not exists (select from trunkline.stream_take t
                                where t.consumer = a.consumer and t.turn = any (_stream_next.open) and a.id = any (t.again))
            window w as (order by a.due_at, a.id) order by a.due_at, a.id limit greatest(1, v_of.max_events / 2)) g
     where g.n = 1 or g.bytes <= v_of.max_bytes / 2;
    v_new.again := v_sum.ids;
    v_of.max_events := v_of.max_events - v_sum.events;
    v_of.max_bytes := greatest(v_of.max_bytes - v_sum.bytes, 0);
    if cursor.upto is not null then                        -- the rest of a window that comes in parts
        v_new.lo := cursor.lo; v_new.hi := cursor.hi; v_new.after := cursor.upto; v_new.upto := cursor.upto;
        if v_of.max_events > 0 then
            v_new.upto := trunkline._stream_part(v_of, v_new.lo, v_new.hi, v_new.after);
        end if;
        v_new.turn := cursor.turn + 1;
        return v_new;
    end if;
    v_new.lo := cursor.hi; v_new.hi := cursor.hi; v_new.after := 0;
    for v_try in 1..2 loop
        exit when v_of.max_events = 0;
        if v_try = 2 or exists (select from trunkline.stream_tick t where t.stream = v_of.stream and t.id > cursor.hi) then
            select f.hi, f.large into v_hi, v_big from trunkline._stream_fit(v_of, v_new.lo) f;
        end if;
        exit when v_hi is not null or v_try = 2;
        perform trunkline._stream_tick(v_of.stream, true, false);      -- none when another made it meanwhile
    end loop;
    if v_hi is not null then
        v_new.hi := v_hi;
        if v_big then
            v_new.upto := trunkline._stream_part(v_of, v_new.lo, v_new.hi, 0);
        end if;
    end if;
    if v_new.hi > v_new.lo or v_new.again <> '{}' then
        v_new.turn := cursor.turn + 1;
    end if;
    return v_new;
end $$;
