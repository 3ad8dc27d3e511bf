-- Claims a message, by the id that its sender chose, for the one who executes it: true for the first who commits. Call it in the
-- transaction of the effects; whoever calls it meanwhile waits for that to end, and has the message if it is rolled back or its
-- session dies. For an hour everybody else gets false; of two messages with one id on a topic the second counts as the first.
-- Errors: 22004; 22023 for an id of more than 100 bytes; 25001 outside READ COMMITTED. Locks: the row of the claim.
create or replace function trunkline.topic_claim(topic text, message_id text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    perform trunkline._check_read_committed('topic_claim');
    if topic is null or message_id is null then
        raise exception '% must not be null', case when topic is null then 'topic name' else 'message id' end using errcode = '22004';
    elsif octet_length(message_id) > 100 then
        raise exception 'message id must be at most 100 bytes, got %', octet_length(message_id) using errcode = '22023';
    end if;
    insert into trunkline.topic_claimed (topic, message_id) values (topic_claim.topic, topic_claim.message_id)
    on conflict do nothing;
    return found;
end $$;
