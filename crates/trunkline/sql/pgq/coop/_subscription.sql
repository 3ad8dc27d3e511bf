-- The subscription of a consumer, and a lock on it; a row of nulls for none.
create or replace function pgq._subscription(for_queue text, consumer text) returns pgq.subscription
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_sub pgq.subscription;
begin
    select s.* into v_sub
      from pgq.subscription s join pgq.consumer c on c.co_id = s.sub_consumer join pgq.queue q on q.queue_id = s.sub_queue
     where q.queue_name = for_queue and c.co_name = consumer
       for no key update of s;
    return v_sub;
end $$;
