-- Opens the next batch of a consumer, or finds the open one: its id, null when there is nothing new.
create or replace function pgq.next_batch(i_queue_name text, i_consumer_name text) returns bigint
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return (select f.batch_id from pgq.next_batch_custom(i_queue_name, i_consumer_name, null, null, null) f);
end $$;
