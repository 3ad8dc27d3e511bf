-- What will come again to a consumer, by id, at most `max` after an id: when, as which attempt, and why. Those of a batch in
-- hand are listed until it is finished. payload is null for bytes.
-- Errors: 42704, 42501 for another role's; 22023 for max.
create or replace function trunkline.stream_retries(stream text, consumer text, max int default 100, after bigint default 0)
returns table (id bigint, due_at timestamptz, attempt int, cause text, at timestamptz, type text, key text, payload text,
               bytes bytea, headers jsonb)
language plpgsql stable security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_of int := (trunkline._stream_consumer(stream_retries.stream, stream_retries.consumer)).id;
begin
    perform trunkline._stream_check_page(stream_retries.max, stream_retries.after);
    return query
    select a.id, a.due_at, a.tries, a.cause, a.at, a.type, a.key,
           case when a.content <> 0 then convert_from(a.payload, 'UTF8') end, a.payload, a.headers::jsonb
      from trunkline.stream_again a
     where a.consumer = v_of and a.id > stream_retries.after
     order by a.id limit stream_retries.max;
end $$;
