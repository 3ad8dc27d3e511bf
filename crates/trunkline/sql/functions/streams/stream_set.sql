-- Changes a setting of a stream. closed: refuses appends (true, false). max_bytes: the largest payload. tick_mode: auto, paused
-- (only forced ticks), external (stream_tick_at). tick_count, tick_lag: when a tick is due. turn_bytes, turn_after,
-- free_after: when the ring turns. keep_for, keep_bytes: retention beyond what consumers need. slow_after, slow_rule: which
-- consumer is slow, and whether to warn of it, drop it, or limit the stream until it has caught up.
-- Errors: 42704, 22004, 22023 for an unknown setting or a value out of its range. Locks: the stream's row.
create or replace function trunkline.stream_set(stream text, setting text, value text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_id  int := (trunkline._stream_named(stream_set.stream)).id;
    v_set text := stream_set.setting;
    v     record;
begin
    select * into v
      from (values ('closed', 'boolean', null, null), ('max_bytes', 'int', '1', '67108864'),
                   ('tick_mode', 'word', 'auto|paused|external', null), ('tick_count', 'int', '1', '1000000'),
                   ('tick_lag', 'interval', '1 ms', '1 day'), ('turn_bytes', 'int', '8192', '1099511627776'),
                   ('turn_after', 'interval', '1 ms', '365 days'), ('free_after', 'interval', '0', '365 days'),
                   ('keep_for', 'interval', '0', '3650 days'), ('keep_bytes', 'int', '0', '1099511627776000'),
                   ('slow_after', 'interval', '1 ms', '3650 days'), ('slow_rule', 'word', 'warn|drop|limit', null))
           s(name, kind, low, high) where s.name = v_set;
    if not found then
        raise exception 'there is no setting "%" of a stream', coalesce(left(v_set, 100), 'null') using errcode = '22023';
    end if;
    perform trunkline._stream_check_setting(v_set, value, v.kind, v.low, v.high);
    update trunkline.stream s
       set closed     = case when v_set = 'closed' then value::boolean else s.closed end,
           max_bytes  = case when v_set = 'max_bytes' then value::int else s.max_bytes end,
           tick_mode  = case when v_set = 'tick_mode' then value else s.tick_mode end,
           tick_count = case when v_set = 'tick_count' then value::int else s.tick_count end,
           tick_lag   = case when v_set = 'tick_lag' then value::interval else s.tick_lag end,
           turn_bytes = case when v_set = 'turn_bytes' then value::bigint else s.turn_bytes end,
           turn_after = case when v_set = 'turn_after' then value::interval else s.turn_after end,
           free_after = case when v_set = 'free_after' then value::interval else s.free_after end,
           keep_for   = case when v_set = 'keep_for' then value::interval else s.keep_for end,
           keep_bytes = case when v_set = 'keep_bytes' then value::bigint else s.keep_bytes end,
           slow_after = case when v_set = 'slow_after' then value::interval else s.slow_after end,
           slow_rule  = case when v_set = 'slow_rule' then value else s.slow_rule end,
           limited_by = case when v_set <> 'slow_rule' or value = 'limit' then s.limited_by end
     where s.id = v_id;
    if v_set = 'tick_mode' then                            -- who sleeps may tick from now on
        perform trunkline._door_ring(-1 - (v_id & 63));
    end if;
end $$;
