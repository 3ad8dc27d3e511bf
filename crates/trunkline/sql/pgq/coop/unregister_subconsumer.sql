-- Removes a subconsumer: 1, or 0 for none. With an open batch: handling 0 is an error, 1 gives the batch's events up.
create or replace function pgq_coop.unregister_subconsumer(i_queue_name text, i_consumer_name text, i_subconsumer_name text,
                                                           i_batch_handling integer) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_sub pgq.subscription;
begin
    select s.* into v_sub
      from pgq.subscription s join pgq.consumer c on c.co_id = s.sub_consumer join pgq.queue q on q.queue_id = s.sub_queue
     where q.queue_name = i_queue_name and c.co_name = i_consumer_name || '.' || i_subconsumer_name
       for update of s;
    if not found then
        return 0;
    end if;
    if v_sub.sub_batch is not null and i_batch_handling is distinct from 1 then
        raise exception 'subconsumer has active batch';
    end if;
    delete from pgq.subscription where sub_queue = v_sub.sub_queue and sub_consumer = v_sub.sub_consumer;
    delete from pgq.consumer c
     where c.co_id = v_sub.sub_consumer and not exists (select from pgq.subscription s where s.sub_consumer = c.co_id);
    return 1;
end $$;
