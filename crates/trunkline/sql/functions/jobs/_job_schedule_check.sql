-- Refuses a schedule's name and settings that cannot be right, naming which: 22004, 22023, TL011. What an expression and a zone
-- mean is read where they are used.
create or replace function trunkline._job_schedule_check(name text, cron text, zone text, missed text, content int, payload bytea,
                                                         headers text) returns void
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    perform trunkline._check_name('schedule', name);
    if cron is null or zone is null or missed is null or payload is null then
        raise exception 'schedule %: % must not be null', name,
            case when cron is null then 'cron' when zone is null then 'zone' when missed is null then 'missed' else 'payload' end
            using errcode = '22004';
    elsif octet_length(cron) > 200 then
        raise exception 'schedule %: cron must be at most 200 bytes, got %', name, octet_length(cron) using errcode = '22023';
    elsif cron !~ '^[ \t]*(@[A-Za-z]+|[!-~]+([ \t]+[!-~]+){4,5})[ \t]*$' then
        raise exception 'schedule %: cron must have 5 fields, or 6 with seconds, or be a word such as @daily', name
            using errcode = '22023';
    elsif octet_length(zone) not between 1 and 100 then
        raise exception 'schedule %: zone must be 1 to 100 bytes, got %', name, octet_length(zone) using errcode = '22023';
    elsif missed not in ('skip', 'one', 'all') then
        raise exception 'schedule %: missed must be skip, one or all, not "%"', name, left(missed, 100) using errcode = '22023';
    elsif content is null or content not between 0 and 2 then
        raise exception 'schedule %: content must be 0 (bytes), 1 (text) or 2 (JSON)', name using errcode = '22023';
    end if;
    perform trunkline._request_check_headers(
        coalesce(headers::jsonb, '{}') || jsonb_build_object('schedule', name, 'scheduled_at', '2000-01-01T00:00:00Z'));
    if content = 2 then
        perform convert_from(payload, 'UTF8')::json;
    elsif content = 1 then
        perform convert_from(payload, 'UTF8');
    end if;
end $$;
