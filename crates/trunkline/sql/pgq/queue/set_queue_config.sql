-- Sets one of six parameters of a queue, which are named without their `queue_`: 1. Other columns are set by UPDATE.
create or replace function pgq.set_queue_config(x_queue_name text, x_param_name text, x_param_value text) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
begin
    if x_queue_name is null or x_param_name is null then
        raise exception 'Invalid NULL value';
    end if;
    if not exists (select from pgq.queue where queue_name = x_queue_name) then
        raise exception 'No such event queue';
    end if;
    if x_param_name = 'ticker_max_count' then
        update pgq.queue set queue_ticker_max_count = x_param_value::int where queue_name = x_queue_name;
    elsif x_param_name = 'ticker_max_lag' then
        update pgq.queue set queue_ticker_max_lag = x_param_value::interval where queue_name = x_queue_name;
    elsif x_param_name = 'ticker_idle_period' then
        update pgq.queue set queue_ticker_idle_period = x_param_value::interval where queue_name = x_queue_name;
    elsif x_param_name = 'ticker_paused' then
        update pgq.queue set queue_ticker_paused = x_param_value::boolean where queue_name = x_queue_name;
    elsif x_param_name = 'rotation_period' then
        update pgq.queue set queue_rotation_period = x_param_value::interval where queue_name = x_queue_name;
    elsif x_param_name = 'external_ticker' then
        update pgq.queue set queue_external_ticker = x_param_value::boolean where queue_name = x_queue_name;
    else
        raise exception 'cannot change parameter "%s"', x_param_name;
    end if;
    return 1;
end $$;
