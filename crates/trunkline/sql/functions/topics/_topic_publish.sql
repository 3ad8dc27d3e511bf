-- What siblings of topic_publish share: checks every argument, and publishes one message by its topic's kind. A payload of
-- text or JSON comes as text, one of bytes as bytes. Its id; null on a channel, which numbers nothing.
create or replace function trunkline._topic_publish(topic text, content smallint, body text, bytes bytea, headers jsonb,
    message_id text, kind text, sender uuid) returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_variable
declare
    v_kind text := trunkline._topic_kind(topic, kind);
    v_head text := trunkline._request_check_headers(headers);
    v_body bytea := case when content = 0 then bytes else convert_to(body, 'UTF8') end;
    v_id   bigint;
begin
    perform trunkline._topic_check(topic, v_kind, content, case when v_kind = 'channel' and content <> 0 then octet_length(body)
                                   else octet_length(v_body) end, v_head, message_id);
    if v_kind = 'channel' then
        perform pg_notify(topic, body);
    elsif v_kind = 'durable' then
        return trunkline._stream_append(topic, v_body, content, '', null, nullif(coalesce(headers, '{}')
            || jsonb_strip_nulls(jsonb_build_object('message-id', message_id, 'sender', sender)), '{}'));
    else
        insert into trunkline.topic_message (segment, topic, sender, content, payload, headers, message_id)
        values (coalesce((select r.current from trunkline.topic_ring r), 0), topic, sender, content, v_body, v_head, message_id)
        returning case when trunkline._door_ring(trunkline._topic_door(topic)) is not null
                        and trunkline._door_ring(-2147483584) is not null then id end into v_id;
    end if;
    return v_id;
end $$;
