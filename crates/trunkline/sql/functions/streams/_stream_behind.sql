-- Since when a stream keeps something, that a tick covers, for who stands at a tick: null when there is nothing.
create or replace function trunkline._stream_behind(stream int, tick bigint) returns timestamptz
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return (select t.at from trunkline.stream_tick t
             where t.stream = _stream_behind.stream and t.id > tick and t.events > 0 order by t.id limit 1);
end $$;
