-- Appends many events of text, in order, by one statement and with one ring: their number. types and keys: one for each, or
-- null for none. Errors as of stream_append, with the number of the first that is wrong; nothing is written then.
create or replace function trunkline.stream_append_many(stream text, payloads text[], types text[] default null,
                                                        keys text[] default null) returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if payloads is null then
        raise exception 'payloads must not be null' using errcode = '22004';
    end if;
    return cardinality(trunkline._stream_append_many(stream, array_fill(1::smallint, array[cardinality(payloads)]), payloads,
                                               null, types, keys));
end $$;
