-- Publishes text on a topic, in the caller's own transaction: the message's id (null on a channel). It is heard after the commit, and
-- gone with a rollback. `kind`: `channel` for the plain PostgreSQL channel of this name; else as topic_create declared it,
-- and volatile where nobody did. `message_id`: as the sender chooses it, up to 100 bytes.
-- Errors: 22004, 22023, 54000 for a name that is too long, TL004 payload too large, TL015 declared as another kind.
-- Guarantee of a volatile message: who reads at least once a minute gets it, in the order of its sender, or is told of a gap.
-- Locks: none beyond the insert. As _topic_publish, in the usual case, and not by it, without a pinned search_path: on the hot path
-- a function in a function costs as much as the insert.
create or replace function trunkline.topic_publish(topic text, payload text, headers jsonb default null,
                                                   message_id text default null, kind text default null) returns bigint
language plpgsql volatile security definer as $$
declare
    v_id bigint;
begin
    if topic_publish.kind is null and topic_publish.headers is null and topic_publish.message_id is null
       and pg_catalog.octet_length(topic_publish.payload) operator(pg_catalog.<=) 1048576
       and coalesce(pg_catalog.current_setting('trunkline.session', true), '') operator(pg_catalog.=) '' then
        insert into trunkline.topic_message (segment, topic, content, payload)
        select coalesce((select r.current from trunkline.topic_ring r), 0), topic_publish.topic, 1,
               pg_catalog.convert_to(topic_publish.payload, 'UTF8')
         where trunkline._topic_plain(topic_publish.topic)
           and not exists (select from trunkline.topic t where t.name operator(pg_catalog.=) topic_publish.topic)
           and trunkline._door_ring(trunkline._topic_door(topic_publish.topic)) is not null
           and trunkline._door_ring(-2147483584) is not null
        returning id into v_id;
        if v_id is not null then
            return v_id;
        end if;
    end if;
    return trunkline._topic_publish(topic_publish.topic, 1::pg_catalog.int2, topic_publish.payload, null, topic_publish.headers,
                                    topic_publish.message_id, topic_publish.kind, trunkline._topic_sender());
end $$;
