-- Publishes many texts on a topic, in order, by one statement: their number. `message_ids`: one for each, or null for none.
-- Errors as of topic_publish, with the number of the first that is wrong; nothing is written then.
create or replace function trunkline.topic_publish_many(topic text, payloads text[], message_ids text[] default null,
                                                        kind text default null) returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_many int := cardinality(payloads);
begin
    if payloads is null then
        raise exception 'payloads must not be null' using errcode = '22004';
    elsif cardinality(message_ids) <> v_many then
        raise exception 'message_ids must have one element for each of % messages, got %', v_many, cardinality(message_ids)
            using errcode = '22023';
    end if;
    perform trunkline._topic_write(array_fill(topic_publish_many.topic, array[v_many]), array_fill(kind, array[v_many]),
        array_fill(1::smallint, array[v_many]), payloads, array_fill(null::bytea, array[v_many]), array_fill(null::text, array[v_many]),
        coalesce(message_ids, array_fill(null::text, array[v_many])), trunkline._topic_sender());
    return v_many;
end $$;
