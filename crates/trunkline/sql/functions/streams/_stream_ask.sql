-- What a process needs to consume: the consumer's number, the door on which its stream rings, whether its role may read the
-- segments by itself, and how many events a batch has at most: fewer are likely all that there is; 0 where that tells nothing.
-- Errors: 42704 for a stream or consumer that is not there, 42501 for another role's.
create or replace function trunkline._stream_ask(stream text, consumer text, out number int, out door int, out readable boolean,
                                                out most int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v trunkline.stream_consumer := trunkline._stream_consumer(_stream_ask.stream, _stream_ask.consumer);
begin
    number := v.id;
    most := case when v.lanes = 1 then v.max_events else 0 end;
    door := -1 - (v.stream & 63);
    readable := has_table_privilege(trunkline._role(), format('trunkline.stream_event_%s', v.stream * 4), 'select');
end $$;
