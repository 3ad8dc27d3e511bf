-- The columns of a table as the generated code treats them, in their order: what they are to the trigger (key, left out, magic), and
-- SQL for their value as the type's output function writes it, and for whether two values differ.
-- In both, %1$s stands for the row; in the second %2$s for the other one.
create or replace function pgq._trigger_columns(relation oid, key text, ignored text)
returns table (name text, type oid, is_key boolean, is_left_out boolean, is_magic boolean, value text, differs text)
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return query
        select a.attname::text, a.atttypid, pgq._listed(key, a.attname) and not starts_with(a.attname, '_pgq_ev_'),
               starts_with(a.attname, '_pgq_ev_') or pgq._listed(ignored, a.attname), starts_with(a.attname, '_pgq_ev_'),
               case when b.cast_by_function then format('case when %%1$s.%1$s is null then null else pg_catalog.concat(%%1$s.%1$s) end', i.ref)
                    else format('%%1$s.%s::pg_catalog.text', i.ref) end,
               format('(case when %%1$s.%1$s is null or %%2$s.%1$s is null then not (%%1$s.%1$s is null and %%2$s.%1$s is null) else %2$s end)',
                      i.ref,
                      case when e.operator is not null
                           then format('not (%%1$s.%1$s operator(%2$s) %%2$s.%1$s)', i.ref, e.operator)
                           else format('(%%1$s.%1$s::pg_catalog.text collate pg_catalog."C") operator(pg_catalog.<>)'
                                       ' (%%2$s.%1$s::pg_catalog.text collate pg_catalog."C")', i.ref) end)
          from pg_attribute a
         cross join lateral (select replace(quote_ident(a.attname), '%', '%%')) i (ref)
         cross join lateral pgq._base_type(a.atttypid) b
         cross join lateral (select pgq._equality(b.type)) e (operator)
         where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
         order by a.attnum;
end $$;
