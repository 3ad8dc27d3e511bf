-- The newest messages on a topic that are still in the ring, at most `max`, the newest first, for people: nobody's place changes. Of a
-- payload the first 10,000 characters; bytes: its size. payload is null for bytes. Looks at the newest 10,000 messages of all topics.
-- Those of a durable topic are events: see stream_peek. Errors: 22023 for max.
create or replace function trunkline.topic_peek(topic text, max int default 20)
returns table (id bigint, sent_at timestamptz, payload text, bytes int, headers jsonb, message_id text)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
#variable_conflict use_column
begin
    if topic_peek.max is null or topic_peek.max not between 1 and 1000 then
        raise exception 'max must be from 1 to 1000, got %', coalesce(topic_peek.max::text, 'null') using errcode = '22023';
    end if;
    return query
    select m.id, m.sent_at, case when m.content <> 0 then left(convert_from(m.payload, 'UTF8'), 10000) end, octet_length(m.payload),
           m.headers::jsonb, m.message_id
      from (select * from trunkline.topic_message order by xid desc, id desc limit 10000) m
     where m.topic = topic_peek.topic
     order by m.xid desc, m.id desc limit topic_peek.max;
end $$;
