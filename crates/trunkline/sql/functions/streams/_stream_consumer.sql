-- The consumer of a name, of a stream: 42704 when there is none, 42501 when it is another role's.
create or replace function trunkline._stream_consumer(stream text, name text) returns trunkline.stream_consumer
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_in int := (trunkline._stream_named(_stream_consumer.stream)).id;
    v    trunkline.stream_consumer;
begin
    select * into v from trunkline.stream_consumer c where c.stream = v_in and c.name = _stream_consumer.name;
    if not found then
        raise exception 'stream "%" has no consumer "%"', _stream_consumer.stream, coalesce(_stream_consumer.name, 'null')
            using errcode = '42704', hint = 'register it: select trunkline.stream_register(stream, consumer)';
    elsif not pg_has_role(trunkline._role(), v.role, 'member') then
        raise exception 'consumer "%" belongs to role "%"', v.name, v.role using errcode = '42501';
    end if;
    return v;
end $$;
