-- An interval in milliseconds, null for null. Errors: 22023 when it is not 0 to 10 years.
create or replace function trunkline._job_ms(what text, delay interval) returns bigint
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if delay not between interval '0' and interval '3650 days' then
        raise exception '% must be from 0 to 3650 days, got %', what, delay using errcode = '22023';
    end if;
    return (extract(epoch from delay) * 1000)::bigint;
end $$;
