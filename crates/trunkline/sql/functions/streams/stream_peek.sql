-- The newest events of a stream, at most `max`, the newest first, for people: nobody's place changes, and nothing is held. Of a payload
-- the first 10,000 characters; bytes: its size. payload is null for bytes. Reads the ends of the segments, as far as it must.
-- Errors: 22004, 42704 no such stream; 22023 for max.
create or replace function trunkline.stream_peek(stream text, max int default 20)
returns table (id bigint, at timestamptz, type text, key text, payload text, bytes int, headers jsonb)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp set jit = off as $$
#variable_conflict use_column
declare
    v_id int := (trunkline._stream_named(stream_peek.stream)).id;
begin
    if stream_peek.max is null or stream_peek.max not between 1 and 1000 then
        raise exception 'max must be from 1 to 1000, got %', coalesce(stream_peek.max::text, 'null') using errcode = '22023';
    end if;
    return query
    select e.id, e.at, e.type, e.key, case when e.content <> 0 then left(convert_from(e.payload, 'UTF8'), 10000) end,
           octet_length(e.payload), e.headers::jsonb
      from (select n.* from generate_series(0, 2) s cross join lateral trunkline._stream_newest(v_id * 4 + s, stream_peek.max) n
             order by n.id desc limit stream_peek.max) e
     order by e.id desc;
end $$;
