-- Inserts an event with everything given: id (null: the next one), time (null: now), owner and number of retries.
-- The sequence moves in any case, for that is how the ticker sees that there is something new.
-- This is what stands until `_dispatch` has written the function anew, with a static INSERT for every segment.
create or replace function pgq.insert_event_raw(queue_name text, ev_id bigint, ev_time timestamptz, ev_owner integer,
                                                ev_retry integer, ev_type text, ev_data text, ev_extra1 text,
                                                ev_extra2 text, ev_extra3 text, ev_extra4 text) returns bigint
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_queue pgq.queue;
    v_id    bigint;
begin
    select * into v_queue from pgq.queue q where q.queue_name = $1;
    if not found then
        perform pgq._insert_refused($1);
    end if;
    v_id := nextval(v_queue.queue_event_seq::regclass);
    perform pgq._insert_check($1, v_queue.queue_id, v_queue.queue_disable_insert, v_queue.queue_per_tx_limit);
    return pgq._insert_slowly(v_queue.queue_id, v_queue.queue_cur_table, coalesce(ev_id, v_id), coalesce(ev_time, now()),
                              ev_owner, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4);
end $$;
