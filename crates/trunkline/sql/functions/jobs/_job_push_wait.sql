-- Pushes one job that a session waits for, for the library: its id, and the queue's door. It is held, so that its result and its
-- errors are kept as long as the queue keeps what ended, and until the session has seen them (see _job_tidy).
-- Arguments as _job_push_on. Errors: as job_push. Guarantee: whoever ends the job rings the session.
create or replace function trunkline._job_push_wait(queue text, content int, payload bytea, kind text, key text, unique_key text,
    priority int, ms bigint, max_attempts int, headers text, options text, session int,
    out id bigint, out door int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v trunkline.job_queue := trunkline._job_queue(queue);
begin
    if content = 2 then
        perform convert_from(payload, 'UTF8')::json;
    elsif content = 1 then
        perform convert_from(payload, 'UTF8');
    end if;
    perform trunkline._job_check(v.name, v.max_bytes, octet_length(payload), kind, key, unique_key, priority,
                                 nullif(max_attempts, 0));
    perform trunkline._job_priority(v.id, priority);
    door := -65 - (v.id & 63);
    id := trunkline._job_hold(v, priority, content, payload, kind, key, unique_key,
                              case when ms > 0 then clock_timestamp() + ms * interval '1 ms' end,
                              coalesce(nullif(max_attempts, 0), v.max_attempts), headers::jsonb::text, options::jsonb);
    if v.max_length > 0 then
        perform trunkline._job_overflow(v);
    end if;
    perform trunkline._job_wait(array[id], session);
end $$;
