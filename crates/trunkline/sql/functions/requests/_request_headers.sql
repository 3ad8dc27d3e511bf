-- Stored headers as jsonb; null where they are not JSON that jsonb can hold. Never an error, see _request_text.
create or replace function trunkline._request_headers(headers text) returns jsonb
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return headers::jsonb;
exception when others then
    return null;
end $$;
