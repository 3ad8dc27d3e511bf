-- Makes a tick of a stream if there is anything that no tick covers yet: its id, or null. With `force`, also if there is
-- nothing. The daemon ticks by itself, by count and age, and a consumer that waits at once. Errors: 42704, 25001, TL008.
create or replace function trunkline.stream_tick(stream text, force boolean default false) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    perform trunkline._check_read_committed('stream_tick');
    return trunkline._stream_tick((trunkline._stream_named(stream_tick.stream)).id, true, force);
end $$;
