-- Publishes bytes on a topic: see topic_publish. A channel carries none.
create or replace function trunkline.topic_publish_bytes(topic text, payload bytea, headers jsonb default null,
                                                         message_id text default null, kind text default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return trunkline._topic_publish(topic, 0::smallint, null, payload, headers, message_id, kind, trunkline._topic_sender());
end $$;
