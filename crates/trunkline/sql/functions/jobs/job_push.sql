-- Pushes a job of text, in the caller's own transaction: its id. It can be taken once that commits, and is gone with a
-- rollback. The queue is made on its first use.
-- kind: a word for handlers. key: jobs of one key run one at a time, in order. unique_key: while a job with it waits or runs
-- nothing is pushed, and its id comes back. priority: 1 (first) to 9. run_at: not before. max_attempts: the queue's by default.
-- Errors: 22004, 22023; TL004 payload too large; TL011 a reserved queue name. Guarantee: done by one worker at a time, at
-- least once. Locks: none beyond the insert.
create or replace function trunkline.job_push(queue text, payload text, kind text default '', key text default null,
    unique_key text default null, priority int default 5, run_at timestamptz default null, max_attempts int default null,
    headers jsonb default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return trunkline._job_push(queue, 1, convert_to(payload, 'UTF8'), kind, key, unique_key, priority, run_at, max_attempts,
                               case when headers is not null then trunkline._request_check_headers(headers) end);
end $$;
