-- Registers a named subscription as a consumer of the durable topics that it is about: those that it names, and those that its
-- wildcards match, now and whenever one is declared (topic_create). Those that are there, by name, with the consumer's number: another
-- one where the topic was dropped and declared again. Once more: the same.
-- Errors: 22004, 22023 for the name and the topics; 42501 for another role's consumer; 25001 outside READ COMMITTED; 55P03 while a
-- topic is declared in a transaction that stays open. Locks: the wildcards, so that none is declared unseen; as stream_register.
create or replace function trunkline._topic_follow(name text, topics text[]) returns table (topic text, consumer int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp set lock_timeout = '1s' as $$
#variable_conflict use_column
declare
    v_wild  text[] := array(select t from unnest(_topic_follow.topics) t where t ~ '[*>]');
    v_known text[] := array(select w.pattern from trunkline.topic_wildcard w where w.name = _topic_follow.name);
    v_one   text;
begin
    perform trunkline._check_name('consumer', _topic_follow.name);
    perform trunkline._check_read_committed('_topic_follow');
    if exists (select from unnest(v_wild) w where w !~ '^(([a-z0-9_-]+|[*])[.])*([a-z0-9_-]+|[*>])$') then
        raise exception '% is words of a-z, 0-9, "_", "-" with a dot between them; "*" stands for a word, ">" at the end for one or more',
            'a wildcard for durable topics' using errcode = '22023';
    end if;
    if not v_wild <@ v_known then
        lock table trunkline.topic_wildcard in share row exclusive mode;
        insert into trunkline.topic_wildcard (name, pattern, role)
        select _topic_follow.name, w, trunkline._role() from unnest(v_wild) w on conflict do nothing;
    end if;
    for v_one in
        select t.name from trunkline.topic t
         where t.kind = 'durable'
           and (t.name = any (_topic_follow.topics) or exists (select from unnest(v_wild) w where trunkline._topic_matches(w, t.name)))
         order by t.name
    loop
        if not exists (select from trunkline.stream_consumer c join trunkline.stream s on s.id = c.stream
                        where s.name = v_one and c.name = _topic_follow.name) then
            perform trunkline.stream_register(v_one, _topic_follow.name);
        end if;
        topic := v_one;
        consumer := (select c.id from trunkline.stream_consumer c join trunkline.stream s on s.id = c.stream
                      where s.name = v_one and c.name = _topic_follow.name);
        return next;
    end loop;
end $$;
