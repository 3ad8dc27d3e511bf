-- Declares a topic's kind, or finds it as it is: true when it is new. `durable` makes the stream of this name, if there is none, and else
-- takes the one that is there;
-- `max_bytes`: the largest payload, 1 to 67108864 (of a channel always 7999).
-- Named subscriptions by wildcards that match a durable one get each message of it from here on.
-- Errors: 22004, 22023, 54000, TL011 for the name or settings; TL015 when it is there with another kind. Locks: for a durable one, new
-- wildcards until the transaction ends.
create or replace function trunkline.topic_create(topic text, kind text, max_bytes int default 1048576) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_kind text;
    v_one  trunkline.topic_wildcard;
begin
    perform trunkline._topic_check_name(topic_create.topic, topic_create.kind);
    if topic_create.max_bytes is null or topic_create.max_bytes not between 1 and 67108864 then
        raise exception 'max_bytes must be 1 to 67108864, got %', coalesce(topic_create.max_bytes::text, 'null') using errcode = '22023';
    end if;
    insert into trunkline.topic (name, kind, max_bytes, role)
    values (topic_create.topic, topic_create.kind, topic_create.max_bytes, trunkline._role()) on conflict do nothing;
    if not found then
        select t.kind into v_kind from trunkline.topic t where t.name = topic_create.topic;
        if v_kind <> topic_create.kind then
            raise exception 'topic "%" is %, not %', topic_create.topic, v_kind, topic_create.kind using errcode = 'TL015';
        end if;
        return false;
    end if;
    if topic_create.kind = 'durable' and not exists (select from trunkline.stream s where s.name = topic_create.topic) then
        perform trunkline.stream_open(topic_create.topic);
        perform trunkline.stream_set(topic_create.topic, 'max_bytes', topic_create.max_bytes::text);
    end if;
    if topic_create.kind = 'durable' then
        lock table trunkline.topic_wildcard in share mode;
        for v_one in select distinct on (w.name) w.* from trunkline.topic_wildcard w
                      where trunkline._topic_matches(w.pattern, topic_create.topic) order by w.name, w.pattern loop
            perform trunkline.stream_register(topic_create.topic, v_one.name);
            update trunkline.stream_consumer c set role = v_one.role
              from trunkline.stream s where s.name = topic_create.topic and c.stream = s.id and c.name = v_one.name;
        end loop;
        perform trunkline._door_ring(-2147483583);
    end if;
    return true;
end $$;
