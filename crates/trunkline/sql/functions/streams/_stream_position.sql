-- The tick that a position names (see stream_register), kept at this moment: hold the stream's row. `end` of a stream whose
-- ticks come from outside is its last tick, since we make none there.
create or replace function trunkline._stream_position(stream int, at text) returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_first bigint := (select s.first_tick from trunkline.stream s where s.id = _stream_position.stream);
    v_at    bigint;
begin
    if _stream_position.at = 'end' then
        v_at := case when (select s.tick_mode from trunkline.stream s where s.id = _stream_position.stream) = 'external'
                     then (select max(t.id) from trunkline.stream_tick t where t.stream = _stream_position.stream)
                     else trunkline._stream_tick(stream, true, true) end;
    elsif _stream_position.at = 'beginning' then
        v_at := v_first;
    elsif _stream_position.at ~ '^tick:[0-9]{1,18}$' then
        v_at := (select t.id from trunkline.stream_tick t
                  where t.stream = _stream_position.stream and t.id = substr(_stream_position.at, 6)::bigint and t.id >= v_first);
    elsif _stream_position.at ~ '^like:' then
        v_at := (select trunkline._stream_low(c.id) from trunkline.stream_consumer c
                  where c.stream = _stream_position.stream and c.name = substr(_stream_position.at, 6));
    else
        begin
            v_at := greatest(v_first, (select max(t.id) from trunkline.stream_tick t
                      where t.stream = _stream_position.stream and t.at <= _stream_position.at::timestamptz));
        exception when data_exception then
            raise exception 'a position is end, beginning, tick:N, like:CONSUMER or a time' using errcode = '22023';
        end;
    end if;
    if v_at is null then
        raise exception 'there is nothing at position %', coalesce(left(_stream_position.at, 100), 'null') using errcode = 'TL007';
    end if;
    return v_at;
end $$;
