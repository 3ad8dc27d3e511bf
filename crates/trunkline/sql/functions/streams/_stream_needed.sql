-- The tick after which somebody needs what a stream keeps: the slowest consumer, or retention by time or size.
create or replace function trunkline._stream_needed(stream trunkline.stream) returns bigint
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_last bigint := (select max(t.id) from trunkline.stream_tick t where t.stream = _stream_needed.stream.id);
    v_low  bigint := (select min(trunkline._stream_low(c.id)) from trunkline.stream_consumer c where c.stream = _stream_needed.stream.id);
begin
    v_low := coalesce(v_low, v_last);
    if _stream_needed.stream.keep_for > interval '0' then
        v_low := least(v_low, coalesce((
            select max(t.id) from trunkline.stream_tick t
             where t.stream = _stream_needed.stream.id and t.at < clock_timestamp() - _stream_needed.stream.keep_for),
            _stream_needed.stream.first_tick));
    end if;
    if _stream_needed.stream.keep_bytes > 0 then
        v_low := least(v_low, coalesce((
            select k.id from (
                select t.id, sum(t.bytes) over (order by t.id desc) as bytes
                  from trunkline.stream_tick t where t.stream = _stream_needed.stream.id) k
             where k.bytes > _stream_needed.stream.keep_bytes order by k.id desc limit 1), _stream_needed.stream.first_tick));
    end if;
    return v_low;
end $$;
