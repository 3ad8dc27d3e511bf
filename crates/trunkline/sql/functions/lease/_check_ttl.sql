-- Refuses a lease's time that is not 1 second to 1 day (22023).
create or replace function trunkline._check_ttl(ttl interval) returns void
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if ttl is null or ttl < interval '1 second' or ttl > interval '1 day' then
        raise exception 'lease ttl must be between 1 second and 1 day, got %', coalesce(ttl::text, 'null')
            using errcode = '22023';
    end if;
end $$;
