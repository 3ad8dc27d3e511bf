-- The version of PgQ whose interface this is. Clients look at its first digits.
create or replace function pgq.version() returns text
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return '3.5.2';
end $$;
