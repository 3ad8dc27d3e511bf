-- What siblings of stream_append share: checks every argument, writes one event, and rings whoever sleeps there.
create or replace function trunkline._stream_append(stream text, payload bytea, content smallint, type text, key text,
                                                    headers jsonb) returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_segment int;
    v_id      bigint;
begin
    select s.segment into v_segment from trunkline.stream s
     where s.name = _stream_append.stream and not s.closed and s.limited_by is null and s.home = 'trunkline.stream'::regclass
       and octet_length(payload) <= s.max_bytes and octet_length(type) <= 100 and (key is null or octet_length(key) <= 1000);
    if v_segment is null then
        perform trunkline._stream_check(_stream_append.stream, octet_length(payload), type, key);
        v_segment := (trunkline._stream_named(_stream_append.stream)).segment;         -- restored, and yet not refused
    end if;
    insert into trunkline.stream_event (segment, type, key, content, payload, headers)
    values (v_segment, type, key, content, payload,
            case when headers is not null then trunkline._request_check_headers(headers) end)
    returning case when trunkline._door_ring(-1 - (v_segment >> 2 & 63)) is not null then id end into v_id;
    return v_id;
end $$;
