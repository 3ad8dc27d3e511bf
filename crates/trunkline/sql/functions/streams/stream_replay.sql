-- Lets dead letters of a consumer come again, at once, those with these ids or (null) all: their number. Their attempts begin
-- anew, the first of them counted. An id that is none, or that comes again already, is not counted.
-- Errors: 42704, 42501 for another role's consumer. Of two at once one gets each.
create or replace function trunkline.stream_replay(stream text, consumer text, ids bigint[] default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_of    trunkline.stream_consumer := trunkline._stream_consumer(stream_replay.stream, stream_replay.consumer);
    v_count bigint;
begin
    with alive as (
        delete from trunkline.stream_dead d where d.consumer = v_of.id and (ids is null or d.id = any (ids)) returning d.*
    )
    insert into trunkline.stream_again (consumer, id, tries, due_at, cause, at, type, key, content, payload, headers)
    select a.consumer, a.id, 2, clock_timestamp(), a.cause, a.at, a.type, a.key, a.content, a.payload, a.headers
      from alive a on conflict do nothing;
    get diagnostics v_count = row_count;
    if v_count > 0 then
        perform trunkline._door_ring(-1 - (v_of.stream & 63));
    end if;
    return v_count;
end $$;
