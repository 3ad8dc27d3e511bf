-- Refuses a job that is out of its limits, naming which: 22004, 22023; TL004 for a payload that is too large.
create or replace function trunkline._job_check(queue text, most int, size int, kind text, key text, unique_key text,
                                                priority int, max_attempts int) returns void
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if size is null then
        raise exception 'job payload must not be null' using errcode = '22004';
    elsif size > most then
        raise exception 'payload for "%" must be at most % bytes, got %', queue, most, size using errcode = 'TL004';
    elsif kind is null then
        raise exception 'job kind must not be null' using errcode = '22004';
    elsif octet_length(kind) > 100 then
        raise exception 'job kind must be at most 100 bytes, got %', octet_length(kind) using errcode = '22023';
    elsif octet_length(key) > 1000 then
        raise exception 'job key must be at most 1000 bytes, got %', octet_length(key) using errcode = '22023';
    elsif octet_length(unique_key) > 1000 then
        raise exception 'job unique_key must be at most 1000 bytes, got %', octet_length(unique_key) using errcode = '22023';
    elsif priority is null or priority not between 1 and 9 then
        raise exception 'job priority must be 1 (first) to 9 (last), got %', coalesce(priority::text, 'null')
            using errcode = '22023';
    elsif max_attempts not between 1 and 10000 then
        raise exception 'job max_attempts must be 1 to 10000, got %', max_attempts using errcode = '22023';
    end if;
end $$;
