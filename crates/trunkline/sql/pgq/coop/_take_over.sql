-- Removes a subconsumer of this consumer that was not seen for so long, one with an open batch first; its batch under another id.
create or replace function pgq._take_over(main pgq.subscription, taker integer, dead interval,
                                          out batch bigint, out first_tick bigint, out last_tick bigint)
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_dead pgq.subscription;
begin
    select * into v_dead from pgq.subscription
     where sub_queue = main.sub_queue and sub_id = main.sub_id and sub_consumer not in (main.sub_consumer, taker)
       and sub_active < now() - dead
     order by sub_batch is null, sub_active limit 1
       for update;
    if not found then
        return;
    end if;
    delete from pgq.subscription where sub_queue = v_dead.sub_queue and sub_consumer = v_dead.sub_consumer;
    delete from pgq.consumer c
     where c.co_id = v_dead.sub_consumer and not exists (select from pgq.subscription s where s.sub_consumer = c.co_id);
    if v_dead.sub_batch is not null then
        batch := nextval('pgq.batch_id_seq');
        first_tick := v_dead.sub_last_tick;
        last_tick := v_dead.sub_next_tick;
    end if;
end $$;
