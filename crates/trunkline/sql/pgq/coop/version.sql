-- The version of pgq_coop whose interface this is.
create or replace function pgq_coop.version() returns text
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return '3.4';
end $$;
