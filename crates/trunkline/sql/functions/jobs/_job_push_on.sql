-- Pushes one job in the caller's own transaction, for the library: its id. ms: how long it waits, 0 for not at all;
-- max_attempts: 0 for the queue's. See job_push.
create or replace function trunkline._job_push_on(queue text, content int, payload bytea, kind text, key text, unique_key text,
    priority int, ms bigint, max_attempts int, headers text, options text) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if content = 2 then
        perform convert_from(payload, 'UTF8')::json;
    elsif content = 1 then
        perform convert_from(payload, 'UTF8');
    end if;
    return trunkline._job_push(queue, content, payload, kind, key, unique_key, priority,
                               case when ms > 0 then clock_timestamp() + ms * interval '1 ms' end, nullif(max_attempts, 0),
                               headers::jsonb::text, options::jsonb);
end $$;
