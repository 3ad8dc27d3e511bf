-- Refuses what cannot be published on a topic of this kind, naming field, limit and size: 22004, 22023, 54000, TL004.
-- A channel carries text of less than 8,000 bytes and nothing beside it.
create or replace function trunkline._topic_check(topic text, kind text, content smallint, bytes int, headers text,
                                                  message_id text) returns void
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_most int := case kind when 'channel' then 7999
                  else coalesce((select t.max_bytes from trunkline.topic t where t.name = topic), 1048576) end;
begin
    if bytes is null then
        raise exception 'topic payload must not be null' using errcode = '22004';
    elsif content is null or content not between 0 and 2 then
        raise exception 'content must be 0 (bytes), 1 (text) or 2 (JSON)' using errcode = '22023';
    elsif bytes > v_most then
        raise exception 'payload for topic "%" must be at most % bytes, got %', topic, v_most, bytes using errcode = 'TL004';
    elsif octet_length(message_id) > 100 then
        raise exception 'message id must be at most 100 bytes, got %', octet_length(message_id) using errcode = '22023';
    elsif kind = 'channel' and content = 0 then
        raise exception 'a channel carries text, not bytes' using errcode = '22023';
    elsif kind = 'channel' and (headers is not null or message_id is not null) then
        raise exception 'a channel carries a payload alone, no headers and no message id' using errcode = '22023';
    end if;
end $$;
