-- Removes a queue with its events and ticks: 1. With force its consumers too; else they are an error.
-- Locks: `_guard` in SHARE ROW EXCLUSIVE to the end of the transaction, for the insert functions are written anew.
create or replace function pgq.drop_queue(x_queue_name text, x_force boolean) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_queue pgq.queue;
begin
    lock table pgq._guard in share row exclusive mode;
    select * into v_queue from pgq.queue where queue_name = x_queue_name for update;
    if not found then
        raise exception 'No such event queue';
    end if;
    if x_force then
        perform pgq.unregister_consumer(x_queue_name, i.consumer_name) from pgq.get_consumer_info(x_queue_name) i;
    elsif exists (select from pgq.subscription where sub_queue = v_queue.queue_id) then
        raise exception 'cannot drop queue, consumers still attached';
    end if;
    for v_nr in 0 .. v_queue.queue_ntables - 1 loop
        execute format('drop table pgq.%I', format('event_%s_%s', v_queue.queue_id, v_nr));
    end loop;
    execute format('drop table pgq.%I', format('event_%s', v_queue.queue_id));
    execute format('drop sequence pgq.%I', format('event_%s_tick_seq', v_queue.queue_id));
    execute format('drop sequence pgq.%I', format('event_%s_id_seq', v_queue.queue_id));
    delete from pgq.tick where tick_queue = v_queue.queue_id;
    delete from pgq._sealed where queue_id = v_queue.queue_id;
    delete from pgq._guard where queue_id = v_queue.queue_id;
    delete from pgq.queue where queue_id = v_queue.queue_id;
    perform pgq._dispatch();
    return 1;
end $$;

create or replace function pgq.drop_queue(x_queue_name text) returns integer
language plpgsql volatile strict set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return pgq.drop_queue(x_queue_name, false);
end $$;
