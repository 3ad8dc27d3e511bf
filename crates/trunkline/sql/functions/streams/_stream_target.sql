-- Where a process may load events by COPY: the segment, its door for the ring afterwards, and the largest payload.
-- Errors: 42704 for a stream that is not there, TL016 for a closed one.
create or replace function trunkline._stream_target(stream text, out segment int, out door int, out max_bytes int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v trunkline.stream := trunkline._stream_named(_stream_target.stream);
begin
    perform trunkline._stream_check(v.name, 0, '', null);
    segment := v.segment;
    door := -1 - (v.id & 63);
    max_bytes := v.max_bytes;
end $$;
