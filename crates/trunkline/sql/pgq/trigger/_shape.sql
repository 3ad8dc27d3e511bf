-- Tells a trigger on a table as it is now from any other: columns, key, names, arguments; of these kinds of trigger and code.
-- Called with constants in generated functions, and said to be immutable, so that the planner replaces it by its result;
-- the plan lives until the table changes, for it names the table. That makes the check of every row free.
create or replace function pgq._shape(relation regclass, trigger_name text) returns text
language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return (
        select md5(concat_ws('|', 1, n.nspname, c.relname, t.tgtype, t.tgfoid, encode(t.tgargs, 'hex'),
               (select string_agg(concat_ws(',', attnum, attname, atttypid, atttypmod, attisdropped, attcollation), ';' order by attnum)
                  from pg_attribute where attrelid = relation and attnum > 0),
               pgq._trigger_key(relation)))
          from pg_class c join pg_namespace n on n.oid = c.relnamespace
          join pg_trigger t on t.tgrelid = c.oid and t.tgname = trigger_name
         where c.oid = relation);
end $$;
