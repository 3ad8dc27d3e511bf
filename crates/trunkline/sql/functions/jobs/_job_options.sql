-- Reads the options of a push, and refuses what makes no sense; see job_push for what each means. 22004, 22023.
create or replace function trunkline._job_options(options jsonb, unique_key text, out ttl interval, out unique_for interval,
    out unique_payload boolean, out unique_while text, out on_conflict text)
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_bad text;
begin
    if jsonb_typeof(options) <> 'object' then
        raise exception 'job options must be a JSON object' using errcode = '22023';
    end if;
    select o.name into v_bad from jsonb_each(options) o(name, value)
     where o.name <> all ('{ttl,unique_for,unique_payload,unique_while,on_conflict}')
        or jsonb_typeof(o.value) <> case when o.name = 'unique_payload' then 'boolean' else 'string' end
     order by o.name limit 1;
    if v_bad is not null then
        raise exception 'job option "%" must be one of ttl, unique_for, unique_while, on_conflict, each a string, or unique_payload, '
            'a boolean', left(v_bad, 100) using errcode = '22023';
    end if;
    foreach v_bad in array array['ttl', 'unique_for'] loop
        if options ? v_bad then
            perform trunkline._stream_check_setting('job option "' || v_bad || '"', options ->> v_bad, 'interval', '1 ms', '3650 days');
        end if;
    end loop;
    ttl            := (options ->> 'ttl')::interval;
    unique_for     := (options ->> 'unique_for')::interval;
    unique_payload := coalesce((options ->> 'unique_payload')::boolean, false);
    on_conflict    := coalesce(options ->> 'on_conflict', 'skip');
    unique_while   := coalesce(options ->> 'unique_while', case on_conflict when 'skip' then 'open' else 'waiting' end);
    if on_conflict not in ('skip', 'replace', 'debounce') then
        raise exception 'job option "on_conflict" must be skip, replace or debounce, got %', left(on_conflict, 100)
            using errcode = '22023';
    elsif unique_while not in ('open', 'waiting') then
        raise exception 'job option "unique_while" must be open or waiting, got %', left(unique_while, 100)
            using errcode = '22023';
    elsif unique_payload and (unique_key is not null or on_conflict <> 'skip') then
        raise exception 'job option "unique_payload" goes neither with a unique_key nor with on_conflict' using errcode = '22023';
    elsif unique_for is not null and (on_conflict <> 'skip' or unique_while <> 'open') then
        raise exception 'job option "unique_for" goes neither with on_conflict nor with unique_while' using errcode = '22023';
    elsif unique_key is null and not unique_payload and (options ?| array['unique_for', 'unique_while', 'on_conflict']) then
        raise exception 'job options unique_for, unique_while and on_conflict need a unique_key, or unique_payload'
            using errcode = '22023';
    end if;
end $$;
