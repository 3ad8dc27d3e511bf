-- What the generated insert functions do where no leaf of theirs is right: no such queue, one that takes none or has a limit, or one
-- that their snapshot did not show. The event's number was drawn, where there is a queue.
create or replace function pgq._insert_otherwise(queue text, ev_id bigint, ev_time timestamptz, ev_owner integer, ev_retry integer,
    ev_type text, ev_data text, ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text) returns bigint
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_queue pgq.queue;
begin
    select * into v_queue from pgq.queue q where q.queue_name = $1;
    if not found then
        perform pgq._insert_refused($1);
    end if;
    perform pgq._insert_check($1, v_queue.queue_id, v_queue.queue_disable_insert, v_queue.queue_per_tx_limit);
    return pgq._insert_slowly(v_queue.queue_id, v_queue.queue_cur_table, ev_id, ev_time, ev_owner, ev_retry, ev_type, ev_data,
                              ev_extra1, ev_extra2, ev_extra3, ev_extra4);
end $$;
