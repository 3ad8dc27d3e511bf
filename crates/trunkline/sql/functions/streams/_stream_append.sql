-- What stream_append and its siblings share: checks every argument, writes one event, and rings whoever sleeps there.
-- The segment is the one in use as far as this snapshot knows: any is right, since ticks look in all of them.
create or replace function trunkline._stream_append(stream text, payload bytea, content smallint, type text, key text,
                                                    headers jsonb) returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v      trunkline.stream;
    v_id   bigint;
begin
    select * into v from trunkline.stream s where s.name = _stream_append.stream;
    if v.id is null or v.closed or v.limited_by is not null or v.home <> 'trunkline.stream'::regclass
       or payload is null or octet_length(payload) > v.max_bytes or type is null or octet_length(type) > 100 or octet_length(key) > 1000 then
        perform trunkline._stream_check(_stream_append.stream, octet_length(payload), type, key);
    end if;
    v_id := nextval('trunkline.stream_event_id');
    insert into trunkline.stream_event (segment, id, type, key, content, payload, headers)
    values (v.segment, v_id, type, key, content, payload,
            case when headers is not null then trunkline._request_check_headers(headers) end);
    return case when trunkline._door_ring(-1 - (v.id & 63)) is null then null else v_id end;   -- an expression costs less than a query
end $$;
