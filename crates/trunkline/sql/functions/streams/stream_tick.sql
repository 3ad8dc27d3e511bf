-- Makes a tick of a stream if there is anything that no tick covers yet, and rings: its id, or null. With `force`, also if there is
-- nothing. The daemon ticks by itself, by count and age, and a consumer that waits at once. Null while tick_mode is paused
-- or external, but by force. Errors: 42704, 25001, TL008; 55000 by force where the numbers come from outside.
create or replace function trunkline.stream_tick(stream text, force boolean default false) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v    trunkline.stream := trunkline._stream_named(stream_tick.stream);
    v_id bigint;
begin
    perform trunkline._check_read_committed('stream_tick');
    if force and v.tick_mode = 'external' then
        raise exception 'ticks of stream "%" come from outside', v.name using errcode = '55000', hint = 'use stream_tick_at';
    end if;
    v_id := trunkline._stream_tick(v.id, true, force);
    if v_id is not null then
        perform trunkline._door_ring(-1 - (v.id & 63));
    end if;
    return v_id;
end $$;
