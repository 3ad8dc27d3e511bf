-- The columns of a table as the generated code treats them, in their order: what they are to the trigger (key, left out, magic), and
-- SQL for their value as the type's output function writes it, where %1$s stands for the row.
create or replace function pgq._trigger_columns(relation oid, key text, ignored text)
returns table (name text, type oid, is_key boolean, is_left_out boolean, is_magic boolean, value text)
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return query
        select a.attname::text, a.atttypid, pgq._listed(key, a.attname) and not starts_with(a.attname, '_pgq_ev_'),
               starts_with(a.attname, '_pgq_ev_') or pgq._listed(ignored, a.attname), starts_with(a.attname, '_pgq_ev_'),
               format(case when b.cast_by_function then 'case when %1$s is null then null else pg_catalog.concat(%1$s) end'
                           else '%1$s::pg_catalog.text' end, pgq._field('%1$s', replace(a.attname, '%', '%%')))
          from pg_attribute a
         cross join lateral pgq._base_type(a.atttypid) b
         where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
         order by a.attnum;
end $$;
