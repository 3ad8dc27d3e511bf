-- Does a wildcard match this durable topic? `*` stands for a word, `>` at the end for one or more; a name matches itself.
create or replace function trunkline._topic_matches(pattern text, topic text) returns boolean
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return topic ~ ('^' || trunkline._topic_expression(pattern) || '$');
end $$;
