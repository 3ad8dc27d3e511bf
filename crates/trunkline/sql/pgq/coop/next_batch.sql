-- Opens the next batch of a consumer for one of its subconsumers, or finds its open one: the id, null when there is nothing new.
-- With an interval: a batch of a subconsumer that was not seen for so long is taken over.
create or replace function pgq_coop.next_batch(i_queue_name text, i_consumer_name text, i_subconsumer_name text) returns bigint
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return pgq_coop.next_batch_custom(i_queue_name, i_consumer_name, i_subconsumer_name, null, null, null, null);
end $$;

create or replace function pgq_coop.next_batch(i_queue_name text, i_consumer_name text, i_subconsumer_name text,
                                               i_dead_interval interval) returns bigint
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return pgq_coop.next_batch_custom(i_queue_name, i_consumer_name, i_subconsumer_name, null, null, null, i_dead_interval);
end $$;
