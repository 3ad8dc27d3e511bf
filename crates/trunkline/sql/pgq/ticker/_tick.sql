-- Makes a tick if one is still due, now that the caller holds the queue's row: its id, else null.
create or replace function pgq._tick(for_queue integer) returns bigint
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_queue pgq.queue;
    v_seq   bigint;
    v_id    bigint;
begin
    select * into v_queue from pgq.queue where queue_id = for_queue;
    if v_queue.queue_external_ticker or v_queue.queue_ticker_paused or not pgq._tick_due(v_queue) then
        return null;
    end if;
    v_seq := pgq._last_event(v_queue.queue_event_seq);      -- before the snapshot: what it misses is new to the next tick
    v_id := nextval(v_queue.queue_tick_seq::regclass);
    perform pgq._tick_insert(for_queue, v_id, now(), v_seq);
    return v_id;
end $$;
