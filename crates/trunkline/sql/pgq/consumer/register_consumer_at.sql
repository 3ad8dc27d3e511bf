-- Subscribes a consumer from a tick on (null: the last one): 1. One that is subscribed is moved there, and its open batch
-- is dropped: 0. Locks: the queue's guard, shared, so that no segment is emptied between the look at the tick and
-- the commit; at REPEATABLE READ a rotation since the transaction began is 40001.
create or replace function pgq.register_consumer_at(x_queue_name text, x_consumer_name text, x_tick_pos bigint) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_queue    int;
    v_consumer int;
    v_tick     bigint;
begin
    select queue_id into v_queue from pgq.queue where queue_name = x_queue_name;
    if not found then
        raise exception 'Event queue not created yet';
    end if;
    perform from pgq._guard where queue_id = v_queue for share;
    select co_id into v_consumer from pgq.consumer where co_name = x_consumer_name for update;
    if not found then
        insert into pgq.consumer (co_name) values (x_consumer_name) on conflict (co_name) do nothing;
        select co_id into strict v_consumer from pgq.consumer where co_name = x_consumer_name for update;
    end if;
    if x_tick_pos is not null and not exists (select from pgq.tick where tick_queue = v_queue and tick_id = x_tick_pos) then
        raise exception 'cannot reposition, tick not found: %', x_tick_pos;
    end if;
    perform from pgq.subscription where sub_queue = v_queue and sub_consumer = v_consumer for update;
    if found then
        if x_tick_pos is not null then
            update pgq.subscription
               set sub_last_tick = x_tick_pos, sub_batch = null, sub_next_tick = null, sub_active = now()
             where sub_queue = v_queue and sub_consumer = v_consumer;
        end if;
        return 0;
    end if;
    v_tick := coalesce(x_tick_pos, (select max(tick_id) from pgq.tick where tick_queue = v_queue));
    if v_tick is null then
        raise exception 'No ticks for this queue.  Please run ticker on database.';
    end if;
    insert into pgq.subscription (sub_queue, sub_consumer, sub_last_tick) values (v_queue, v_consumer, v_tick);
    return 1;
end $$;
