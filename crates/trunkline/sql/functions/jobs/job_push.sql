-- Pushes a job of text, in the caller's own transaction: its id. It can be taken once that commits, and is gone with a
-- rollback. The queue is made on its first use.
-- kind: a word for handlers. key: jobs of one key run one at a time, in order. unique_key: while a job with it waits or runs
-- nothing is pushed, and its id comes back. priority: 1 (first) to 9. run_at: not before, within 3650 days. max_attempts: else the queue's.
-- options, a JSON object: ttl, how long after its push, or run_at, it may begin; unique_payload, unique by kind and payload
-- instead of a key; unique_while, "open" (waits or runs) or "waiting" (until it is first taken); unique_for, for so long from its
-- push, whatever became of it; on_conflict, "skip", "replace" (the waiting job gets the new payload) or "debounce" (and its time anew).
-- Errors: 22004, 22023; TL004 payload too large; TL011 a reserved queue name; 53400 the queue is full. Guarantee: done by one
-- worker at a time, at least once. Locks: none beyond the insert.
create or replace function trunkline.job_push(queue text, payload text, kind text default '', key text default null,
    unique_key text default null, priority int default 5, run_at timestamptz default null, max_attempts int default null,
    headers jsonb default null, options jsonb default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_id bigint;
begin
    -- As _job_push, in the usual case, and not by it: a function in a function costs as much as the insert. Only the segment in
    -- use is named to the server, which would lock the other one as well.
    if coalesce(key, unique_key) is null and run_at is null and max_attempts is null and headers is null
       and options is null then
        if (select r.current from trunkline.ring r where r.name = 'job_d') = 0 then
            insert into trunkline.job_d0 (lane, flags, kind, payload)
            select q.id * 16 + job_push.priority, 1, job_push.kind, convert_to(job_push.payload, 'UTF8')
              from trunkline.job_queue q
             where q.name = job_push.queue and q.durable and not q.held
               and exists (select from trunkline.job_priority p where p.queue = q.id and p.priority = job_push.priority)
               and octet_length(job_push.payload) <= q.max_bytes and octet_length(job_push.kind) <= 100
               and trunkline._door_ring(-65 - (q.id & 63)) is not null
            returning id into v_id;
        else
            insert into trunkline.job_d1 (lane, flags, kind, payload)
            select q.id * 16 + job_push.priority, 1, job_push.kind, convert_to(job_push.payload, 'UTF8')
              from trunkline.job_queue q
             where q.name = job_push.queue and q.durable and not q.held
               and exists (select from trunkline.job_priority p where p.queue = q.id and p.priority = job_push.priority)
               and octet_length(job_push.payload) <= q.max_bytes and octet_length(job_push.kind) <= 100
               and trunkline._door_ring(-65 - (q.id & 63)) is not null
            returning id into v_id;
        end if;
        if v_id is not null then
            return v_id;
        end if;
    end if;
    return trunkline._job_push(queue, 1, convert_to(payload, 'UTF8'), kind, key, unique_key, priority, run_at, max_attempts,
                               case when headers is not null then trunkline._request_check_headers(headers) end, options);
end $$;
