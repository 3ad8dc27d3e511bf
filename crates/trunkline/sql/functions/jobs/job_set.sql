-- Changes a setting of a queue. max_bytes: the largest payload. max_attempts, retry_after, retry_most: attempts, and how long
-- between them. max_running: at once, across all workers; 0 for no limit. keep_done, keep_dead: how long ended jobs that were
-- held are kept. Jobs of a queue with a limit are held: slower, and exact.
-- Errors: 42704, 22004, 22023 for an unknown setting or a value out of its range. Locks: the queue's row.
create or replace function trunkline.job_set(queue text, setting text, value text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_queue trunkline.job_queue := trunkline._job_named(queue);
    v_set   text := job_set.setting;
    v       record;
begin
    select * into v
      from (values ('max_bytes', 'int', '1', '67108864'), ('max_attempts', 'int', '1', '10000'),
                   ('retry_after', 'interval', '0', '365 days'), ('retry_most', 'interval', '0', '365 days'),
                   ('max_running', 'int', '0', '1000000'), ('keep_done', 'interval', '0', '3650 days'),
                   ('keep_dead', 'interval', '0', '3650 days')) s(name, kind, low, high) where s.name = v_set;
    if not found then
        raise exception 'there is no setting "%" of a queue', coalesce(left(v_set, 100), 'null') using errcode = '22023';
    end if;
    perform trunkline._stream_check_setting(v_set, value, v.kind, v.low, v.high);
    update trunkline.job_queue q
       set max_bytes    = case when v_set = 'max_bytes' then value::int else q.max_bytes end,
           max_attempts = case when v_set = 'max_attempts' then value::int else q.max_attempts end,
           retry_after  = case when v_set = 'retry_after' then value::interval else q.retry_after end,
           retry_most   = case when v_set = 'retry_most' then value::interval else q.retry_most end,
           max_running  = case when v_set = 'max_running' then value::int else q.max_running end,
           keep_done    = case when v_set = 'keep_done' then value::interval else q.keep_done end,
           keep_dead    = case when v_set = 'keep_dead' then value::interval else q.keep_dead end
     where q.id = v_queue.id;
    perform trunkline._door_ring(-65 - (v_queue.id & 63));
end $$;
