-- Forgets what was declared of a topic: false when nothing was. The stream behind a durable one goes with it, and is refused while it
-- has consumers or events unless `force` (stream_drop). Errors: 22004; those of stream_drop.
create or replace function trunkline.topic_drop(topic text, force boolean default false) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_kind text;
begin
    if topic_drop.topic is null then
        raise exception 'topic name must not be null' using errcode = '22004';
    end if;
    delete from trunkline.topic t where t.name = topic_drop.topic returning t.kind into v_kind;
    if v_kind = 'durable' and exists (select from trunkline.stream s where s.name = topic_drop.topic) then
        perform trunkline.stream_drop(topic_drop.topic, topic_drop.force);
    end if;
    return v_kind is not null;
end $$;
