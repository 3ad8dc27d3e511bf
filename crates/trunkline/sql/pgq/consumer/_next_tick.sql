-- The tick that ends the batch after this one, by the rules of the consumer; a row of nulls when there is none yet.
create or replace function pgq._next_tick(prev pgq.tick, min_lag interval, min_count integer, min_interval interval) returns pgq.tick
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_next pgq.tick;
begin
    if min_count is null and min_interval is null then
        select * into v_next from pgq.tick
         where tick_queue = prev.tick_queue and tick_id > prev.tick_id order by tick_queue, tick_id limit 1;
    else
        select t.* into v_next
          from pgq.find_tick_helper(prev.tick_queue, prev.tick_id, prev.tick_time, prev.tick_event_seq, min_count, min_interval) f
          join pgq.tick t on t.tick_queue = prev.tick_queue and t.tick_id = f.next_tick_id;
    end if;
    if now() - v_next.tick_time < min_lag then
        return null;
    end if;
    return v_next;
end $$;
