-- Moves every sequence of PgQ behind what was given out, where a dump has left it before that.
create or replace function pgq._repair_sequences() returns void
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_queue pgq.queue;
    v_last  bigint;
begin
    perform pgq._advance('queue_queue_id_seq', (select max(queue_id) from pgq.queue));
    perform pgq._advance('consumer_co_id_seq', (select max(co_id) from pgq.consumer));
    perform pgq._advance('subscription_sub_id_seq', (select max(sub_id) from pgq.subscription));
    perform pgq._advance('batch_id_seq', (select max(sub_batch) from pgq.subscription));
    for v_queue in select * from pgq.queue loop
        perform pgq._advance(format('event_%s_tick_seq', v_queue.queue_id),
                             (select max(tick_id) from pgq.tick where tick_queue = v_queue.queue_id));
        execute format('select max(ev_id) from pgq.%I', format('event_%s', v_queue.queue_id)) into v_last;
        perform pgq._advance(format('event_%s_id_seq', v_queue.queue_id),
                             greatest(v_last, (select max(ev_id) from pgq.retry_queue where ev_queue = v_queue.queue_id)));
    end loop;
end $$;
