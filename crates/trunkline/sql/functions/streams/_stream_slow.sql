-- Finds the consumers of a stream that are further behind than its slow_after, and does by its slow_rule: warns of each once
-- (and stream_list names it), removes it with an entry in stream_move, or has appends refused until it has caught up. How
-- many there are. Behind is who has left what a tick covers unfinished for so long. Nobody is removed at once: only who is
-- still slow a tenth of slow_after later, lest a server that was down, or a dump that is old, loses its consumers.
-- Locks: the stream's row, if it is free.
create or replace function trunkline._stream_slow(stream int) returns int
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v       trunkline.stream;
    v_of    record;
    v_count int := 0;
    v_limit text;
begin
    select * into v from trunkline.stream s where s.id = _stream_slow.stream for no key update skip locked;
    if not found then
        return null;
    end if;
    for v_of in select c.id, c.name, c.slow_since, l.low, trunkline._stream_behind(v.id, l.low) < clock_timestamp() - v.slow_after as slow
                  from trunkline.stream_consumer c
                 cross join lateral (select trunkline._stream_low(c.id) as low) l
                 where c.stream = v.id order by l.low, c.name loop
        if v_of.slow is true then
            v_count := v_count + 1;
            if v_of.slow_since is null then
                update trunkline.stream_consumer c set slow_since = clock_timestamp() where c.id = v_of.id;
                raise warning 'consumer "%" of stream "%" is more than % behind', v_of.name, v.name, v.slow_after;
            elsif v.slow_rule = 'drop' and v_of.slow_since < clock_timestamp() - v.slow_after / 10 then
                perform trunkline._stream_forget(v_of.id);
                insert into trunkline.stream_move (consumer, stream, role, from_tick)
                values (v_of.name, v.name, trunkline._role(), v_of.low);
                raise warning 'consumer "%" of stream "%" is removed, since it stayed more than % behind', v_of.name, v.name, v.slow_after;
            end if;
            v_limit := coalesce(v_limit, case when v.slow_rule = 'limit' then v_of.name end);
        elsif v_of.slow_since is not null then
            update trunkline.stream_consumer c set slow_since = null where c.id = v_of.id;
        end if;
    end loop;
    if v_limit is distinct from v.limited_by then
        update trunkline.stream s set limited_by = v_limit where s.id = v.id;
    end if;
    return v_count;
end $$;
