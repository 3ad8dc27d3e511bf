-- Publishes many messages, of one element in each array, for engines: their ids and doors, in order; null for those on a channel.
-- Volatile ones go by one insert, and each door is rung once; the others one by one.
-- kinds: null is as declared. contents: 0 bytes, 1 text, 2 JSON; of each the one of texts and bytes that its content tells.
-- Errors: as topic_publish, with the number of the message; nothing is written then. 22023 for equal ones on a channel: of those that are
-- notified in one transaction PostgreSQL makes one. Engines then write each task's by itself.
create or replace function trunkline._topic_write(topics text[], kinds text[], contents smallint[], texts text[], bytes bytea[],
                                                  headers text[], message_ids text[], sender uuid)
returns table (n bigint, id bigint, door int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_segment int := coalesce((select r.current from trunkline.topic_ring r), 0);
    v_plain   boolean;
    v_ids     bigint[];
    v_one     record;
begin
    select coalesce(bool_and(coalesce(u.kind, 'volatile') = 'volatile' and coalesce(trunkline._topic_plain(u.topic), false)
                             and coalesce(u.content between 0 and 2, false)
                             and coalesce(octet_length(case when u.content = 0 then u.bytes else convert_to(u.text, 'UTF8') end)
                                          <= 1048576, false)
                             and (u.message_id is null or octet_length(u.message_id) <= 100)
                             and (u.header is null or octet_length(u.header) <= 8192)
                             and (u.content <> 2 or u.text::json is not null)), true)
           and not exists (select from trunkline.topic t where t.name = any (topics)) into v_plain
      from unnest(topics, kinds, contents, texts, _topic_write.bytes, headers, message_ids)
           u(topic, kind, content, text, bytes, header, message_id);
    if not v_plain and topics[1] = all (topics) and cardinality(topics) > 1
       and trunkline._topic_kind(topics[1], kinds[1]) = 'durable' then
        return query
        select i.n, i.id, (select -1 - (s.id & 63) from trunkline.stream s where s.name = topics[1])
          from unnest(trunkline._stream_append_many(topics[1], contents, texts, _topic_write.bytes, null, null,
            array(select nullif(coalesce(u.header, '{}')::jsonb || jsonb_strip_nulls(jsonb_build_object(
                             'message-id', u.message_id, 'sender', _topic_write.sender)), '{}')::text
                    from unnest(headers, message_ids) with ordinality u(header, message_id, n) order by u.n)))
               with ordinality i(id, n);
        return;
    elsif not v_plain then
        select o.n, o.topic into v_one
          from (select u.n, u.topic, row_number() over (partition by u.topic, u.text order by u.n) as nth
                  from unnest(topics, kinds, texts) with ordinality u(topic, kind, text, n)
                 where coalesce(u.kind, (select t.kind from trunkline.topic t where t.name = u.topic)) = 'channel') o
         where o.nth > 1 order by o.n limit 1;
        if found then
            raise exception 'message %: equal messages on channel "%" need a transaction each: PostgreSQL makes one of them',
                v_one.n, v_one.topic using errcode = '22023';
        end if;
        for v_one in select * from unnest(topics, kinds, contents, texts, _topic_write.bytes, headers, message_ids) with ordinality
                     u(topic, kind, content, text, bytes, header, message_id, n) loop
            begin
                if v_one.content = 2 then
                    perform v_one.text::json;
                end if;
                v_ids[v_one.n] := trunkline._topic_publish(v_one.topic, v_one.content, v_one.text, v_one.bytes,
                    v_one.header::jsonb, v_one.message_id, v_one.kind, sender);
            exception when data_exception or invalid_parameter_value or program_limit_exceeded or undefined_object
                           or sqlstate 'TL004' or sqlstate 'TL011' or sqlstate 'TL015' or sqlstate 'TL016' then
                raise exception '%', case when cardinality(topics) > 1 then 'message ' || v_one.n || ': ' else '' end || sqlerrm
                    using errcode = sqlstate;
            end;
        end loop;
        return query
        select i.n, i.id, case when i.id is not null then coalesce((select -1 - (s.id & 63) from trunkline.topic t
                  join trunkline.stream s on s.name = t.name where t.name = topics[i.n] and t.kind = 'durable'), -2147483584) end
          from unnest(v_ids) with ordinality i(id, n);
        return;
    end if;
    return query
    with written as (
        insert into trunkline.topic_message (segment, topic, sender, content, payload, headers, message_id)
        select v_segment, u.topic, _topic_write.sender, u.content,
               case when u.content = 0 then u.bytes else convert_to(u.text, 'UTF8') end, u.header, u.message_id
          from unnest(topics, contents, texts, _topic_write.bytes, headers, message_ids)
               u(topic, content, text, bytes, header, message_id)
        returning topic_message.id)
    select row_number() over (order by w.id), w.id, -2147483584 from written w;
    perform trunkline._door_ring(d) from unnest(trunkline._topic_doors(topics) || -2147483584) d;
end $$;
