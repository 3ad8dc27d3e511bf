-- A table's name as it stands in a statement. as_read: without its inheritance children, whose rows are no jobs of this table.
create or replace function trunkline._job_attached_name(relation oid, as_read boolean) returns text
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return (select format(case when as_read and c.relkind = 'r' then 'only %I.%I' else '%I.%I' end, n.nspname, c.relname)
              from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = relation);
end $$;
