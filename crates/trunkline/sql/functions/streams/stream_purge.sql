-- Deletes dead letters of a consumer, those with these ids or (null) all: their number.
-- Errors: 42704, 42501 for another role's consumer.
create or replace function trunkline.stream_purge(stream text, consumer text, ids bigint[] default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_of    int := (trunkline._stream_consumer(stream_purge.stream, stream_purge.consumer)).id;
    v_count bigint;
begin
    delete from trunkline.stream_dead d where d.consumer = v_of and (ids is null or d.id = any (ids));
    get diagnostics v_count = row_count;
    return v_count;
end $$;
