-- Subscribes a consumer to a queue, from the last tick on: 1, or 0 when it is subscribed already.
create or replace function pgq.register_consumer(x_queue_name text, x_consumer_id text) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return pgq.register_consumer_at(x_queue_name, x_consumer_id, null);
end $$;
