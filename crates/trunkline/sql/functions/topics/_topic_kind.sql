-- The kind of a topic, as asked for or declared: volatile without either. Checks its name.
-- Errors: as _topic_check_name; 42704 for a durable topic that is not there; TL015 where it is declared as another kind.
create or replace function trunkline._topic_kind(topic text, kind text) returns text
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_kind text := (select t.kind from trunkline.topic t where t.name = _topic_kind.topic);
begin
    if kind is not null and v_kind <> kind then
        raise exception 'topic "%" is %, not %', topic, v_kind, kind using errcode = 'TL015';
    end if;
    perform trunkline._topic_check_name(topic, coalesce(v_kind, kind, 'volatile'));
    if v_kind is null and kind = 'durable' then
        raise exception 'there is no durable topic "%"', topic using errcode = '42704';
    end if;
    return coalesce(v_kind, kind, 'volatile');
end $$;
