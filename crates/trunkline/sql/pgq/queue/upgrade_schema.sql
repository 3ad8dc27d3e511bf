-- Nothing: `trunkline schema install --pgq` brings the schema up to date. Returns 0.
create or replace function pgq.upgrade_schema() returns integer
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return 0;
end $$;
