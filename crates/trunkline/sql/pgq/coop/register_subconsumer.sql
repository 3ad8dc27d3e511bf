-- Makes a subconsumer of a consumer, and the consumer where there is none: 1, or 0 when it is there already.
-- It is a consumer named "consumer.subconsumer" whose subscription has the number of the other, and no tick while it is idle.
create or replace function pgq_coop.register_subconsumer(i_queue_name text, i_consumer_name text, i_subconsumer_name text) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_name text := i_consumer_name || '.' || i_subconsumer_name;
begin
    perform pgq.register_consumer(i_queue_name, i_consumer_name);
    if pgq.register_consumer(i_queue_name, v_name) = 0 then
        return 0;
    end if;
    update pgq.subscription s
       set sub_id = m.sub_id, sub_last_tick = null, sub_next_tick = null
      from pgq.subscription m
      join pgq.consumer mc on mc.co_id = m.sub_consumer and mc.co_name = i_consumer_name
      join pgq.queue q on q.queue_id = m.sub_queue and q.queue_name = i_queue_name
     where s.sub_queue = m.sub_queue and s.sub_consumer = (select co_id from pgq.consumer where co_name = v_name);
    return 1;
end $$;
