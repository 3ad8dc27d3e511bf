-- A payload as text; null where it is not text in this database (a NUL, broken UTF-8): then the bytes are there to look at.
-- Never an error, so that one bad payload cannot keep a channel's takers from the ones behind it.
create or replace function trunkline._request_text(payload bytea) returns text
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return convert_from(payload, 'UTF8');
exception when others then
    return null;
end $$;
