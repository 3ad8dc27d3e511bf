-- The doors of some topics, each once, for who goes to sleep on them.
create or replace function trunkline._topic_doors(topics text[]) returns int[]
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return array(select distinct trunkline._topic_door(t) from unnest(topics) t);
end $$;
