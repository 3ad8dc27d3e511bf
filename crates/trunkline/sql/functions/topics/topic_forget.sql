-- Ends a named subscription to durable topics for good: its wildcards are forgotten, and its consumers of all durable topics that they
-- match, or that `topics` names, are removed with what was kept for them. How many consumers that were. `topics`: null is all of that name.
-- Errors: 22004; 42501 for another role's. Waits for who takes or finishes a batch of it just now.
create or replace function trunkline.topic_forget(name text, topics text[] default null) returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_one   text;
    v_count int := 0;
begin
    if topic_forget.name is null then
        raise exception 'subscription name must not be null' using errcode = '22004';
    elsif exists (select from trunkline.topic_wildcard w where w.name = topic_forget.name
                     and not pg_has_role(trunkline._role(), w.role, 'member')) then
        raise exception 'subscription "%" belongs to another role', left(topic_forget.name, 100) using errcode = '42501';
    end if;
    delete from trunkline.topic_wildcard w
     where w.name = topic_forget.name and (topic_forget.topics is null or w.pattern = any (topic_forget.topics));
    for v_one in
        select t.name from trunkline.topic t
          join trunkline.stream s on s.name = t.name
          join trunkline.stream_consumer c on c.stream = s.id and c.name = topic_forget.name
         where t.kind = 'durable' and (topic_forget.topics is null
               or exists (select from unnest(topic_forget.topics) p where trunkline._topic_matches(p, t.name)))
         order by t.name
    loop
        v_count := v_count + trunkline.stream_unregister(v_one, topic_forget.name)::int;
    end loop;
    return v_count;
end $$;
