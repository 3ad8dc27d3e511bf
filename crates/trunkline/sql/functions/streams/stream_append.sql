-- Appends one event of text to a stream, in the caller's own transaction: its id. It is delivered after the commit, gone
-- with a rollback. Errors: 42704 no such stream; TL004 payload too large; TL016 the stream is closed; 22004, 22023.
-- Guarantee: each consumer gets it in exactly one batch. Locks: none beyond the insert.
create or replace function trunkline.stream_append(stream text, payload text, type text default '', key text default null,
                                                   headers jsonb default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return trunkline._stream_append(stream, convert_to(payload, 'UTF8'), 1::smallint, type, key, headers);
end $$;
