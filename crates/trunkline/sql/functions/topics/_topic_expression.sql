-- A topic with wildcards as a regular expression: `*` stands for a word, `>` at the end for one or more. Nothing else of what a topic
-- may hold means anything in one.
create or replace function trunkline._topic_expression(pattern text) returns text
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return replace(replace(replace(pattern, '.', '[.]'), '*', '[^.]+'), '>', '.+');
end $$;
