-- Ends a subscription, its retries, and its subconsumers; or that of one subconsumer. How many subscriptions ended.
create or replace function pgq.unregister_consumer(x_queue_name text, x_consumer_name text) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_sub       pgq.subscription;
    v_consumers int[];
begin
    select s.* into v_sub
      from pgq.subscription s join pgq.consumer c on c.co_id = s.sub_consumer join pgq.queue q on q.queue_id = s.sub_queue
     where q.queue_name = x_queue_name and c.co_name = x_consumer_name
       for update of s, c;
    if not found then
        return 0;
    end if;
    if pgq._is_subconsumer(v_sub.sub_queue, v_sub.sub_id, x_consumer_name) then
        v_consumers := array[v_sub.sub_consumer];
    else
        delete from pgq.retry_queue where ev_owner = v_sub.sub_id;
        v_consumers := array(select sub_consumer from pgq.subscription where sub_queue = v_sub.sub_queue and sub_id = v_sub.sub_id);
    end if;
    delete from pgq.subscription where sub_queue = v_sub.sub_queue and sub_consumer = any (v_consumers);
    delete from pgq.consumer c
     where c.co_id = any (v_consumers) and not exists (select from pgq.subscription s where s.sub_consumer = c.co_id);
    return cardinality(v_consumers);
end $$;
