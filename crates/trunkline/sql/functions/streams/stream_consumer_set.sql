-- Changes a setting of a consumer. max_events, max_bytes: the most in hand at once. min_events, min_interval: a batch waits
-- for so many, but not longer than that. min_lag: nothing younger is handed out. max_attempts: after so many an event that
-- is to come again becomes a dead letter. lanes: above 1, members that share (mode `share`) keep the order of each key: its
-- events are all in one lane, and of a lane one batch is in hand at a time. What is in hand stays as it is.
-- Errors: 42704, 42501 for another role's; 22004, 22023 for an unknown setting or a value out of its range.
create or replace function trunkline.stream_consumer_set(stream text, consumer text, setting text, value text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_id  int := (trunkline._stream_consumer(stream_consumer_set.stream, stream_consumer_set.consumer)).id;
    v_set text := stream_consumer_set.setting;
    v     record;
begin
    select * into v
      from (values ('max_events', 'int', '1', '1000000'), ('max_bytes', 'int', '1', '1073741824'),
                   ('min_events', 'int', '0', '1000000'), ('min_interval', 'interval', '0', '1 day'),
                   ('min_lag', 'interval', '0', '30 days'), ('max_attempts', 'int', '1', '1000000'),
                   ('lanes', 'int', '1', '64'))
           s(name, kind, low, high) where s.name = v_set;
    if not found then
        raise exception 'there is no setting "%" of a consumer', coalesce(left(v_set, 100), 'null') using errcode = '22023';
    end if;
    perform trunkline._stream_check_setting(v_set, value, v.kind, v.low, v.high);
    update trunkline.stream_consumer c
       set max_events   = case when v_set = 'max_events' then value::int else c.max_events end,
           max_bytes    = case when v_set = 'max_bytes' then value::int else c.max_bytes end,
           min_events   = case when v_set = 'min_events' then value::int else c.min_events end,
           min_interval = case when v_set = 'min_interval' then value::interval else c.min_interval end,
           min_lag      = case when v_set = 'min_lag' then value::interval else c.min_lag end,
           max_attempts = case when v_set = 'max_attempts' then value::int else c.max_attempts end,
           lanes        = case when v_set = 'lanes' then value::int else c.lanes end
     where c.id = v_id;
end $$;
