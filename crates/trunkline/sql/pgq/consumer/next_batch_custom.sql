-- Opens the next batch of a consumer: at least that old, with at least so many events or so long a time; or finds the open one.
-- All null when there is nothing. Errors: "Not subscriber to queue: …".
-- Locks: the subscription's row when a batch is to be opened, so that two sessions of one consumer get one batch, once.
create or replace function pgq.next_batch_custom(i_queue_name text, i_consumer_name text, i_min_lag interval, i_min_count integer,
    i_min_interval interval, out batch_id bigint, out cur_tick_id bigint, out prev_tick_id bigint,
    out cur_tick_time timestamptz, out prev_tick_time timestamptz, out cur_tick_event_seq bigint, out prev_tick_event_seq bigint)
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_sub  pgq.subscription;
    v_prev pgq.tick;
    v_next pgq.tick;
begin
    select s.* into v_sub
      from pgq.subscription s join pgq.consumer c on c.co_id = s.sub_consumer join pgq.queue q on q.queue_id = s.sub_queue
     where q.queue_name = i_queue_name and c.co_name = i_consumer_name;
    if not found then
        raise exception 'Not subscriber to queue: %/%', coalesce(i_queue_name, 'NULL'), coalesce(i_consumer_name, 'NULL');
    end if;
    for v_locked in 0 .. 1 loop
        select * into v_prev from pgq.tick where tick_queue = v_sub.sub_queue and tick_id = v_sub.sub_last_tick;
        if not found then
            raise exception 'PgQ corruption: Consumer % on queue % does not see tick %', i_consumer_name, i_queue_name, v_sub.sub_last_tick;
        end if;
        if v_sub.sub_batch is not null then
            select * into v_next from pgq.tick where tick_queue = v_sub.sub_queue and tick_id = v_sub.sub_next_tick;
        else
            v_next := pgq._next_tick(v_prev, i_min_lag, i_min_count, i_min_interval);
        end if;
        exit when v_locked = 1 or v_sub.sub_batch is not null or v_next.tick_id is null;
        select * into v_sub from pgq.subscription                       -- and then all of it again
         where sub_queue = v_sub.sub_queue and sub_consumer = v_sub.sub_consumer for no key update;
        if not found then
            raise exception 'Not subscriber to queue: %/%', i_queue_name, i_consumer_name;
        end if;
    end loop;
    if v_next.tick_id is null then
        return;
    end if;
    batch_id := v_sub.sub_batch;
    if batch_id is null then
        batch_id := nextval('pgq.batch_id_seq');
        update pgq.subscription set sub_batch = batch_id, sub_next_tick = v_next.tick_id, sub_active = now()
         where sub_queue = v_sub.sub_queue and sub_consumer = v_sub.sub_consumer;
    end if;
    prev_tick_id := v_prev.tick_id;
    prev_tick_time := v_prev.tick_time;
    prev_tick_event_seq := v_prev.tick_event_seq;
    cur_tick_id := v_next.tick_id;
    cur_tick_time := v_next.tick_time;
    cur_tick_event_seq := v_next.tick_event_seq;
end $$;
