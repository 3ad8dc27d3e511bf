-- Appends one event of bytes: see stream_append.
create or replace function trunkline.stream_append_bytes(stream text, payload bytea, type text default '',
                                                         key text default null, headers jsonb default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return trunkline._stream_append(stream, payload, 0::smallint, type, key, headers);
end $$;
