-- Refuses what cannot be appended to a stream, naming field, limit and size: 22004, 22023, 42704, TL004, TL016.
create or replace function trunkline._stream_check(stream text, bytes int, type text, key text) returns void
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v trunkline.stream := trunkline._stream_named(_stream_check.stream);
begin
    if v.closed then
        raise exception 'stream "%" is closed', v.name using errcode = 'TL016';
    elsif bytes is null then
        raise exception 'event payload must not be null' using errcode = '22004';
    elsif bytes > v.max_bytes then
        raise exception 'payload for stream "%" must be at most % bytes, got %', v.name, v.max_bytes, bytes
            using errcode = 'TL004';
    elsif type is null then
        raise exception 'event type must not be null' using errcode = '22004';
    elsif octet_length(type) > 100 then
        raise exception 'event type must be at most 100 bytes, got %', octet_length(type) using errcode = '22023';
    elsif octet_length(key) > 1000 then
        raise exception 'event key must be at most 1000 bytes, got %', octet_length(key) using errcode = '22023';
    end if;
end $$;
