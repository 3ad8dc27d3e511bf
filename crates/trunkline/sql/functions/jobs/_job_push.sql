-- Pushes one job, in the caller's own transaction: its id. What can be done at once goes into the ring; what waits for a
-- time, its key or a place in a full queue, or is unique, is held. See job_push for arguments, errors and guarantees.
create or replace function trunkline._job_push(queue text, content int, payload bytea, kind text, key text,
    unique_key text, priority int, run_at timestamptz, max_attempts int, headers text,
    options jsonb default null) returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_variable
declare
    v      trunkline.job_queue;
    v_lane int;
    v_id   bigint;
begin
    select * into v from trunkline.job_queue q where q.name = _job_push.queue;
    if not found then
        v := trunkline._job_queue(_job_push.queue);
    end if;
    if not coalesce(octet_length(payload) <= v.max_bytes and octet_length(kind) <= 100 and priority between 1 and 9, false)
       or coalesce(octet_length(key) > 1000, false) or coalesce(octet_length(unique_key) > 1000, false)
       or coalesce(max_attempts not between 1 and 10000, false) then
        perform trunkline._job_check(v.name, v.max_bytes, octet_length(payload), kind, key, unique_key, priority, max_attempts);
    end if;
    if run_at is not null then
        run_at := trunkline._job_due(run_at);
    end if;
    v_lane := v.id * 16 + priority;
    if priority <> 5 then
        perform trunkline._job_priority(v.id, priority);
    end if;
    if key is not null or unique_key is not null or options is not null or v.held or run_at > clock_timestamp() then
        v_id := trunkline._job_hold(v, priority, content, payload, kind, key, unique_key, run_at,
                                    coalesce(max_attempts, v.max_attempts), headers, options);
        if v.max_length > 0 then
            perform trunkline._job_overflow(v);
        end if;
        return v_id;
    elsif not v.durable then
        return trunkline._job_insert_e(v_lane, content | (coalesce(max_attempts, 0) << 8), kind, payload, headers);
    end if;
    return trunkline._job_insert_d(v_lane, content | (coalesce(max_attempts, 0) << 8), kind, payload, headers);
end $$;
