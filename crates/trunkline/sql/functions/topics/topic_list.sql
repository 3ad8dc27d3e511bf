-- The declared topics, and those that somebody listens to by name: their kind, the largest payload, how many listen now (wildcards
-- count for none), and how many messages the ring holds of the last minute or two; null for the kinds that are not in it.
create or replace function trunkline.topic_list()
returns table (topic text, kind text, max_bytes int, subscriptions bigint, messages bigint, last_at timestamptz, made_at timestamptz)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    with heard as (
        select t.topic, min(o.kind) as kind, count(*) as many
          from trunkline.topic_subscriptions() o cross join unnest(o.topics) t(topic) group by t.topic
    ), held as (
        select m.topic, count(*) as many, max(m.sent_at) as last_at from trunkline.topic_message m group by m.topic
    )
    select n.name, coalesce(t.kind, h.kind, 'volatile'), coalesce(t.max_bytes, 1048576), coalesce(h.many, 0),
           case when coalesce(t.kind, h.kind, 'volatile') = 'volatile' then coalesce(r.many, 0) end, r.last_at, t.made_at
      from (select t.name from trunkline.topic t union select h.topic from heard h union select r.topic from held r) n
      left join trunkline.topic t on t.name = n.name
      left join heard h on h.topic = n.name
      left join held r on r.topic = n.name
     order by n.name;
end $$;
