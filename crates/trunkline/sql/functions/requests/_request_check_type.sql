-- Refuses a request type over 100 bytes or with control characters (22023), or null (22004). Empty is a type.
create or replace function trunkline._request_check_type(type text) returns void
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if type is null then
        raise exception 'request type must not be null' using errcode = '22004';
    elsif octet_length(type) > 100 then
        raise exception 'request type must be at most 100 bytes, got %', octet_length(type) using errcode = '22023';
    elsif type ~ '[[:cntrl:]]' then
        raise exception 'request type must not contain control characters' using errcode = '22023';
    end if;
end $$;
