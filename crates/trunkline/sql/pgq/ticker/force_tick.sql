-- Moves the event sequence so far that the next `ticker()` finds a tick due; the last tick's id.
create or replace function pgq.force_tick(i_queue_name text) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
begin
    perform setval(queue_event_seq::regclass, nextval(queue_event_seq::regclass) + queue_ticker_max_count * 2 + 1000)
       from pgq.queue where queue_name = i_queue_name and not queue_external_ticker and not queue_ticker_paused;
    return (select t.tick_id from pgq.tick t join pgq.queue q on q.queue_id = t.tick_queue where q.queue_name = i_queue_name
             order by t.tick_queue desc, t.tick_id desc limit 1);
end $$;
