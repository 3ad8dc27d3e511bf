-- Makes or replaces a schedule, for the library, which has read its cron expression and its zone: whether anything changed. The
-- queue is made where it is new. content: 0 bytes, 1 text, 2 JSON; headers: a JSON object. As job_schedule.
create or replace function trunkline._job_schedule(name text, queue text, cron text, zone text, missed text, content int,
    payload bytea, kind text, key text, priority int, max_attempts int, headers text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_headers text := nullif(_job_schedule.headers::jsonb, '{}')::text;
begin
    perform trunkline._job_schedule_check(_job_schedule.name, cron, zone, missed, content, payload, v_headers);
    perform trunkline._job_check(queue => _job_schedule.queue, most => (trunkline._job_queue(_job_schedule.queue)).max_bytes,
        size => octet_length(_job_schedule.payload), kind => _job_schedule.kind, key => _job_schedule.key, unique_key => null,
        priority => _job_schedule.priority, max_attempts => _job_schedule.max_attempts);
    if exists (select from trunkline.job_schedule s
                where s.name = _job_schedule.name
                  and row (s.queue, s.cron, s.zone, s.missed, s.content::int, s.payload, s.kind, s.key, s.priority,
                           s.max_attempts, s.headers)
                      is not distinct from
                      row (_job_schedule.queue, _job_schedule.cron, _job_schedule.zone, _job_schedule.missed,
                           _job_schedule.content, _job_schedule.payload, _job_schedule.kind, _job_schedule.key,
                           _job_schedule.priority, _job_schedule.max_attempts, v_headers)) then
        return false;
    end if;
    insert into trunkline.job_schedule as s
           (name, queue, cron, zone, missed, content, payload, kind, key, priority, max_attempts, headers)
    values (_job_schedule.name, _job_schedule.queue, _job_schedule.cron, _job_schedule.zone, _job_schedule.missed,
            _job_schedule.content::smallint, _job_schedule.payload, _job_schedule.kind, _job_schedule.key,
            _job_schedule.priority, _job_schedule.max_attempts, v_headers)
        on conflict (name) do update
       set generation = excluded.generation, queue = excluded.queue, cron = excluded.cron, zone = excluded.zone,
           missed = excluded.missed, content = excluded.content, payload = excluded.payload, kind = excluded.kind,
           key = excluded.key, priority = excluded.priority, max_attempts = excluded.max_attempts,
           headers = excluded.headers, error = null, tried_at = null,
           since = case when (s.cron, s.zone) = (excluded.cron, excluded.zone) then s.since else excluded.since end,
           next_at = case when (s.cron, s.zone) = (excluded.cron, excluded.zone) then s.next_at end;
    perform trunkline._door_ring(-129);
    return true;
end $$;
