-- The events of a batch in hand, by id, those that come again with their attempt above 1: all of them, or only of some
-- types or keys, or at most `max` after an id, to go on from there. payload is null for bytes.
-- Errors: TL001 when the batch is no longer yours; 22023.
create or replace function trunkline.stream_events(batch text, types text[] default null, keys text[] default null,
    after bigint default null, max int default null)
returns table (id bigint, at timestamptz, type text, key text, payload text, bytes bytea, headers jsonb, attempt int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select e.id, e.at, e.type, e.key, case when e.content <> 0 then convert_from(e.payload, 'UTF8') end,
           e.payload, e.headers::jsonb, e.attempt
      from trunkline._stream_events(batch, stream_events.after,
                                    case when types is null and keys is null then stream_events.max end) e
     where (types is null or e.type = any (types)) and (keys is null or e.key = any (keys))
     order by e.id limit stream_events.max;
end $$;
