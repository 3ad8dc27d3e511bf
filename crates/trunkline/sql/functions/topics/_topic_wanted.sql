-- What a reader asks of the ring, of the topics that a caller names: the plain names, one expression for the wildcards, and the doors to
-- sleep on. Errors: 22023 for topics of which there are none or over 1000, 64 of them with wildcards; 22004, 22023, 54000 for one that
-- is none; TL015 for one that is declared, and not as volatile.
create or replace function trunkline._topic_wanted(topics text[], out names text[], out pattern text, out doors int[])
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_wild text[] := array(select t from unnest(topics) t where t ~ '[*>]');
begin
    if topics is null or cardinality(topics) not between 1 and 1000 then
        raise exception 'a subscription has 1 to 1000 topics, got %', coalesce(cardinality(topics), 0) using errcode = '22023';
    elsif cardinality(v_wild) > 64 then
        raise exception 'a reader has at most 64 topics with wildcards, got %', cardinality(v_wild) using errcode = '22023';
    elsif exists (select from unnest(v_wild) w where octet_length(w) > 200
                     or w !~ '^(([A-Za-z0-9_:/-]+|[*])[.])*([A-Za-z0-9_:/-]+|[*>])$') then
        raise exception '% is 1 to 200 bytes, words of a-z, A-Z, 0-9, "_", "-", ":", "/" with a dot between them; "*" stands for %',
            'a topic with wildcards', 'a word, ">" at the end for one or more' using errcode = '22023';
    end if;
    names := array(select t from unnest(topics) t where t ~ '[*>]' is not true);
    perform trunkline._topic_kind(n, 'volatile') from unnest(names) n;
    pattern := (select '^(' || string_agg(trunkline._topic_expression(w), '|') || ')$' from unnest(v_wild) w);
    doors := case when v_wild = '{}' and cardinality(names) <= 16 then trunkline._topic_doors(names) else '{-2147483584}' end;
end $$;
