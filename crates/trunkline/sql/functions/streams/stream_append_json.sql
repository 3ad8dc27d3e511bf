-- Appends one event of JSON: see stream_append.
create or replace function trunkline.stream_append_json(stream text, payload jsonb, type text default '',
                                                        key text default null, headers jsonb default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return trunkline._stream_append(stream, convert_to(payload::text, 'UTF8'), 2::smallint, type, key, headers);
end $$;
