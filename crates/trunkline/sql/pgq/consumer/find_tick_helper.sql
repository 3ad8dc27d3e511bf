-- Finds where a batch of at least so many events, or of at least so long a time, ends: the last tick where that is not
-- more than twice as far as asked, else the first one that is far enough. All null when none is.
create or replace function pgq.find_tick_helper(i_queue_id integer, i_prev_tick_id bigint, i_prev_tick_time timestamptz,
    i_prev_tick_seq bigint, i_min_count bigint, i_min_interval interval,
    out next_tick_id bigint, out next_tick_time timestamptz, out next_tick_seq bigint)
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_tick pgq.tick;
begin
    select * into v_tick from pgq.tick
     where tick_queue = i_queue_id and tick_id > i_prev_tick_id order by tick_queue desc, tick_id desc limit 1;
    if not found then
        return;
    end if;
    if v_tick.tick_event_seq - i_prev_tick_seq > i_min_count * 2 or v_tick.tick_time - i_prev_tick_time > i_min_interval * 2 then
        select * into v_tick from pgq.tick
         where tick_queue = i_queue_id and tick_id > i_prev_tick_id
           and (tick_event_seq - i_prev_tick_seq >= i_min_count or tick_time - i_prev_tick_time >= i_min_interval)
         order by tick_queue, tick_id limit 1;
    elsif (v_tick.tick_event_seq - i_prev_tick_seq >= i_min_count or v_tick.tick_time - i_prev_tick_time >= i_min_interval)
          is not true then
        return;
    end if;
    next_tick_id := v_tick.tick_id;
    next_tick_time := v_tick.tick_time;
    next_tick_seq := v_tick.tick_event_seq;
end $$;
