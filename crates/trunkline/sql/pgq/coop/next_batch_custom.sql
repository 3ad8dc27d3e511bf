-- Opens the next batch of a consumer for one of its subconsumers, by rules like those of `pgq.next_batch_custom`.
-- Locks: the consumer's subscription, so that its subconsumers ask one after the other.
-- A batch that is taken over gets another id: what its former holder still does with the old one finds no batch.
create or replace function pgq_coop.next_batch_custom(i_queue_name text, i_consumer_name text, i_subconsumer_name text,
    i_min_lag interval, i_min_count integer, i_min_interval interval, i_dead_interval interval) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_main  pgq.subscription;
    v_sub   pgq.subscription;
    v_batch bigint;
    v_first bigint;
    v_last  bigint;
begin
    v_main := pgq._subscription(i_queue_name, i_consumer_name);
    v_sub := pgq._subscription(i_queue_name, i_consumer_name || '.' || i_subconsumer_name);
    if v_main.sub_id is null or v_sub.sub_id is null then
        perform pgq_coop.register_subconsumer(i_queue_name, i_consumer_name, i_subconsumer_name);
        v_main := pgq._subscription(i_queue_name, i_consumer_name);
        v_sub := pgq._subscription(i_queue_name, i_consumer_name || '.' || i_subconsumer_name);
    end if;
    if v_main.sub_next_tick is not null then
        raise exception 'main consumer has batch open?';
    end if;
    if v_sub.sub_batch is not null then
        update pgq.subscription set sub_active = now() where sub_queue = v_sub.sub_queue and sub_consumer = v_sub.sub_consumer;
        return v_sub.sub_batch;
    end if;
    if i_dead_interval is not null then
        select t.batch, t.first_tick, t.last_tick into v_batch, v_first, v_last
          from pgq._take_over(v_main, v_sub.sub_consumer, i_dead_interval) t;
    end if;
    if v_batch is null then
        select f.batch_id, f.prev_tick_id, f.cur_tick_id into v_batch, v_first, v_last
          from pgq.next_batch_custom(i_queue_name, i_consumer_name, i_min_lag, i_min_count, i_min_interval) f;
        if v_batch is null then
            return null;
        end if;
        update pgq.subscription set sub_batch = null, sub_next_tick = null, sub_last_tick = v_last, sub_active = now()
         where sub_queue = v_main.sub_queue and sub_consumer = v_main.sub_consumer;
    end if;
    update pgq.subscription
       set sub_batch = v_batch, sub_last_tick = v_first, sub_next_tick = v_last, sub_active = now()
     where sub_queue = v_sub.sub_queue and sub_consumer = v_sub.sub_consumer;
    return v_batch;
end $$;

create or replace function pgq_coop.next_batch_custom(i_queue_name text, i_consumer_name text, i_subconsumer_name text,
    i_min_lag interval, i_min_count integer, i_min_interval interval) returns bigint
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return pgq_coop.next_batch_custom(i_queue_name, i_consumer_name, i_subconsumer_name, i_min_lag, i_min_count, i_min_interval, null);
end $$;
