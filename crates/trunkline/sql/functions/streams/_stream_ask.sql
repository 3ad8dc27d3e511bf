-- What a process needs to consume: the consumer's number, and the door on which its stream rings.
-- Errors: 42704 for a stream or consumer that is not there, 42501 for another role's.
create or replace function trunkline._stream_ask(stream text, consumer text, out number int, out door int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v trunkline.stream_consumer := trunkline._stream_consumer(_stream_ask.stream, _stream_ask.consumer);
begin
    number := v.id;
    door := -1 - (v.stream & 63);
end $$;
