-- Changes a setting of a queue. max_bytes: the largest payload. max_attempts, retry_after, retry_most: attempts, and how long
-- between them. max_running: at once, across all workers; rate_limit: attempts that begin in any rate_period; max_length: jobs
-- that wait, and overflow, what a push beyond it does: refuse, drop_oldest; each 0 for no limit. Jobs of a queue with a max_length
-- are held: slower. key_max_running, key_rate_limit, key_rate_period: the same of each key. keep_done, keep_dead: how
-- long ended jobs that were held are kept.
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
                   ('max_running', 'int', '0', '1000000'), ('rate_limit', 'int', '0', '1000000'),
                   ('rate_period', 'interval', '10 ms', '365 days'), ('max_length', 'int', '0', '10000000'),
                   ('overflow', 'word', 'refuse|drop_oldest', null), ('key_max_running', 'int', '1', '10000'),
                   ('key_rate_limit', 'int', '0', '1000000'), ('key_rate_period', 'interval', '10 ms', '365 days'),
                   ('keep_done', 'interval', '0', '3650 days'),
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
           rate_limit   = case when v_set = 'rate_limit' then value::int else q.rate_limit end,
           rate_period  = case when v_set = 'rate_period' then value::interval else q.rate_period end,
           max_length   = case when v_set = 'max_length' then value::int else q.max_length end,
           overflow     = case when v_set = 'overflow' then value else q.overflow end,
           key_max_running = case when v_set = 'key_max_running' then value::int else q.key_max_running end,
           key_rate_limit  = case when v_set = 'key_rate_limit' then value::int else q.key_rate_limit end,
           key_rate_period = case when v_set = 'key_rate_period' then value::interval else q.key_rate_period end,
           keep_done    = case when v_set = 'keep_done' then value::interval else q.keep_done end,
           keep_dead    = case when v_set = 'keep_dead' then value::interval else q.keep_dead end
     where q.id = v_queue.id;
    if v_set = 'key_max_running' then                       -- what it lets go on; whoever takes it decides
        update trunkline.job_held h set state = 0
         where h.state = 5 and h.id = any (array(
               select w.id from (select w.id, row_number() over (partition by w.key order by w.id) as n from trunkline.job_held w
                                  where w.lane >> 4 = v_queue.id and w.key is not null and w.state in (0, 1, 5)) w
                where w.n <= value::int));
    elsif v_set = 'max_length' and value::int > 0 then      -- what was pushed before counts, too
        update trunkline.job_held h set counted = true
         where h.lane >> 4 = v_queue.id and not h.counted and h.state in (0, 5);
    end if;
    perform trunkline._door_ring(-65 - (v_queue.id & 63));
end $$;
