-- Refuses headers that are not one flat object of strings, over 64 of them, over 8 KiB, or with line breaks (22023).
create or replace function trunkline._request_check_headers(headers jsonb) returns text
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_text text := headers::text;
begin
    if headers is null then
        return null;
    elsif jsonb_typeof(headers) <> 'object' then
        raise exception 'headers must be an object, got %', jsonb_typeof(headers) using errcode = '22023';
    elsif octet_length(v_text) > 8192 then
        raise exception 'headers must be at most 8192 bytes, got %', octet_length(v_text) using errcode = '22023';
    elsif (select count(*) from jsonb_object_keys(headers)) > 64 then
        raise exception 'there may be at most 64 headers' using errcode = '22023';
    elsif exists (select from jsonb_each(headers) h(k, v)
                   where jsonb_typeof(v) <> 'string' or k ~ '[\r\n]' or v #>> '{}' ~ '[\r\n]') then
        raise exception 'header values must be strings without line breaks' using errcode = '22023';
    end if;
    return v_text;
end $$;
