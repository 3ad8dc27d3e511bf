-- Appends events to a stream, many at once, and rings once, for engines: their ids, in order, and the stream's door.
-- contents: 0 bytes, 1 text, 2 JSON; of each event the one of texts and bytes that its content tells is stored, so that
-- the server checks text and JSON itself.
-- Errors: as stream_append, with the number of the event; nothing is written then.
create or replace function trunkline._stream_write(stream text, types text[], keys text[], contents smallint[],
    texts text[], bytes bytea[], headers text[])
returns table (id bigint, door int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v     trunkline.stream := trunkline._stream_named(_stream_write.stream);
    v_bad record;
begin
    select u.n, octet_length(case when u.content = 0 then u.bytes else convert_to(u.text, 'UTF8') end) as size, u.type, u.key
      into v_bad
      from unnest(types, keys, contents, texts, _stream_write.bytes) with ordinality
           u(type, key, content, text, bytes, n)
     where v.closed or v.limited_by is not null or v.home <> 'trunkline.stream'::regclass or u.type is null
        or octet_length(u.type) > 100 or octet_length(u.key) > 1000 or u.content is null or u.content not between 0 and 2
        or coalesce(octet_length(case when u.content = 0 then u.bytes else convert_to(u.text, 'UTF8') end) > v.max_bytes, true)
     order by u.n limit 1;
    if v_bad.n is not null then
        begin
            perform trunkline._stream_check(v.name, v_bad.size, v_bad.type, v_bad.key);
        exception when others then
            raise exception 'event %: %', v_bad.n, sqlerrm using errcode = sqlstate;
        end;
        raise exception 'event %: content must be 0 (bytes), 1 (text) or 2 (JSON)', v_bad.n using errcode = '22023';
    end if;
    return query
    with written as (
        insert into trunkline.stream_event (segment, type, key, content, payload, headers)
        select v.segment, u.type, u.key, u.content,
               case when u.content = 0 then u.bytes else convert_to(u.text, 'UTF8') end, u.header::jsonb::text
          from unnest(types, keys, contents, texts, _stream_write.bytes, headers) u(type, key, content, text, bytes, header)
         where u.content <> 2 or u.text::json is not null
        returning id)
    select w.id, -1 - (v.id & 63) from written w;
    perform trunkline._door_ring(-1 - (v.id & 63));
end $$;
