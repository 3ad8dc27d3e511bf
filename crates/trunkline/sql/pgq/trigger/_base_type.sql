-- The type under a domain, and whether a cast of it to text is by a function, which may write something else than its output.
create or replace function pgq._base_type(domain oid, out type oid, out cast_by_function boolean)
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_under oid;
begin
    type := domain;
    loop
        select t.typbasetype into v_under from pg_type t where t.oid = type and t.typtype = 'd';
        exit when not found;
        type := v_under;
    end loop;
    cast_by_function := exists (select from pg_cast where castsource = type and casttarget = 'text'::regtype and castmethod = 'f');
end $$;
