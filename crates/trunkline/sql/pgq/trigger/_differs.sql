-- SQL for whether a column has another value in `pgq_new` than in `pgq_old`: by its type's equality, or as a text where it has none.
-- A row of nulls is not null, though SQL says that it is.
create or replace function pgq._differs(name text, type oid) returns text
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_type     oid := (select b.type from pgq._base_type(_differs.type) b);
    v_operator text := pgq._equality(v_type);
    v_null     text := case when exists (select from pg_type t where t.oid = v_type and t.typtype = 'c')
                            then 'pg_catalog.num_nulls(%1$s) operator(pg_catalog.=) 1' else '%1$s is null' end;
begin
    return format(
        '(case when %4$s or %5$s then not (%4$s and %5$s) else '
            || case when v_operator is not null then 'not (%1$s operator(%3$s) %2$s) end)'
                    else '(%1$s::pg_catalog.text collate pg_catalog."C") operator(pg_catalog.<>)'
                         ' (%2$s::pg_catalog.text collate pg_catalog."C") end)' end,
        pgq._field('pgq_new', name), pgq._field('pgq_old', name), v_operator,
        format(v_null, pgq._field('pgq_new', name)), format(v_null, pgq._field('pgq_old', name)));
end $$;
