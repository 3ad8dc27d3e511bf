-- A field of a row in the generated code, its name always in quotes: some words mean something to PL/pgSQL there.
create or replace function pgq._field(row_name text, name text) returns text
language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return row_name || '."' || replace(name, '"', '""') || '"';
end $$;
