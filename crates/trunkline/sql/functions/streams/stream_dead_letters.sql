-- The dead letters of a consumer, by id, at most `max` after an id, to go on from there: events that were tried too often, or
-- were given up, with the cause. payload is null for bytes. Errors: 42704, 42501 for another role's; 22023 for max.
create or replace function trunkline.stream_dead_letters(stream text, consumer text, max int default 100, after bigint default 0)
returns table (id bigint, died_at timestamptz, attempts int, cause text, at timestamptz, type text, key text, payload text,
               bytes bytea, headers jsonb)
language plpgsql stable security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_of int := (trunkline._stream_consumer(stream_dead_letters.stream, stream_dead_letters.consumer)).id;
begin
    perform trunkline._stream_check_page(stream_dead_letters.max, stream_dead_letters.after);
    return query
    select d.id, d.died_at, d.tries - 1, d.cause, d.at, d.type, d.key,
           case when d.content <> 0 then convert_from(d.payload, 'UTF8') end, d.payload, d.headers::jsonb
      from trunkline.stream_dead d
     where d.consumer = v_of and d.id > stream_dead_letters.after
     order by d.id limit stream_dead_letters.max;
end $$;
