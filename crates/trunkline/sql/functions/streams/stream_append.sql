-- Appends one event of text to a stream, in the caller's own transaction: its id. It is delivered after the commit, gone
-- with a rollback. Errors: 42704 no such stream; TL004 payload too large; TL016 the stream is closed; 22004, 22023.
-- Guarantee: each consumer gets it in exactly one batch. Locks: none beyond the insert.
-- The segment is the one in use as far as this snapshot knows: any is right, since ticks look in all of them. As
-- _stream_append, and not by it: a function in a function costs as much as the insert.
create or replace function trunkline.stream_append(stream text, payload text, type text default '', key text default null,
                                                   headers jsonb default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_segment int;
    v_id      bigint;
begin
    select s.segment into v_segment from trunkline.stream s
     where s.name = stream_append.stream and not s.closed and s.limited_by is null and s.home = 'trunkline.stream'::regclass
       and octet_length(payload) <= s.max_bytes and octet_length(type) <= 100 and (key is null or octet_length(key) <= 1000);
    if v_segment is null then
        perform trunkline._stream_check(stream_append.stream, octet_length(payload), type, key);
        v_segment := (trunkline._stream_named(stream_append.stream)).segment;         -- restored, and yet not refused
    end if;
    insert into trunkline.stream_event (segment, type, key, payload, headers)
    values (v_segment, type, key, convert_to(payload, 'UTF8'),
            case when headers is not null then trunkline._request_check_headers(headers) end)
    returning case when trunkline._door_ring(-1 - (v_segment >> 2 & 63)) is not null then id end into v_id;
    return v_id;
end $$;
