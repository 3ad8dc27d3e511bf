-- Writes many events by one statement and rings once: their ids, in order. contents: 0 bytes, 1 text, 2 JSON, and
-- by it the payload is in `bytes` or in `texts`: text comes as text, so that the server has checked its encoding, and JSON
-- must be JSON. types, keys and headers (JSON objects) may be null as a whole; each array has as many elements as contents.
-- Errors as of stream_append, with the number of the first element that is wrong; nothing is written then.
-- Locks: none beyond the insert.
create or replace function trunkline._stream_append_many(stream text, contents smallint[], texts text[], bytes bytea[],
    types text[] default null, keys text[] default null, headers text[] default null) returns bigint[]
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v     trunkline.stream;
    v_ids bigint[];
begin
    select * into v from trunkline.stream s where s.name = _stream_append_many.stream;
    if v.id is null or v.closed or v.limited_by is not null or v.home <> 'trunkline.stream'::regclass then
        perform trunkline._stream_check(_stream_append_many.stream, 0, '', null);
    end if;
    perform trunkline._stream_check_sizes(contents, texts, bytes, types, keys, headers);
    if headers is not null or 2 = any (contents) then
        perform trunkline._stream_check_each(v.name, contents, texts, bytes, types, keys, headers, true);
    end if;
    with written as (
        insert into trunkline.stream_event (segment, id, type, key, content, payload, headers)
        select v.segment, nextval('trunkline.stream_event_id'), e.type, e.key, e.content, e.payload, e.headers::jsonb::text
          from (select case when _stream_append_many.types is null then '' else u.type end as type, u.key, u.content, u.headers,
                       case when u.content = 0 then u.bytes else convert_to(u.text, 'UTF8') end as payload
                  from unnest(contents, texts, _stream_append_many.bytes, types, keys, _stream_append_many.headers)
                       u(content, text, bytes, type, key, headers)
                offset 0) e
         where e.content between 0 and 2 and octet_length(e.payload) <= v.max_bytes and octet_length(e.type) <= 100
           and (e.key is null or octet_length(e.key) <= 1000)
        returning id
    )
    select coalesce(array_agg(w.id), '{}') into v_ids from written w;
    if cardinality(v_ids) < cardinality(contents) then
        perform trunkline._stream_check_each(v.name, contents, texts, bytes, types, keys, headers, false);
    end if;
    perform trunkline._door_ring(-1 - (v.id & 63));
    return v_ids;
end $$;
