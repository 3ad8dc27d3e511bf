-- Pushes a job of JSON, in the caller's own transaction: its id. As job_push.
create or replace function trunkline.job_push_json(queue text, payload jsonb, kind text default '', key text default null,
    unique_key text default null, priority int default 5, run_at timestamptz default null, max_attempts int default null,
    headers jsonb default null, options jsonb default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return trunkline._job_push(queue, 2, convert_to(payload::text, 'UTF8'), kind, key, unique_key, priority, run_at, max_attempts,
                               case when headers is not null then trunkline._request_check_headers(headers) end, options);
end $$;
