-- Publishes JSON on a topic: see topic_publish.
create or replace function trunkline.topic_publish_json(topic text, payload jsonb, headers jsonb default null,
                                                        message_id text default null, kind text default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return trunkline._topic_publish(topic, 2::smallint, payload::text, null, headers, message_id, kind, trunkline._topic_sender());
end $$;
