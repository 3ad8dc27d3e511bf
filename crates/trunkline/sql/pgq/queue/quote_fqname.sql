-- Quotes a name with its schema, `public` where it has none.
create or replace function pgq.quote_fqname(i_name text) returns text
language plpgsql immutable strict set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_dot int := strpos(i_name, '.');
begin
    if v_dot = 0 then
        return 'public.' || quote_ident(i_name);
    end if;
    return quote_ident(left(i_name, v_dot - 1)) || '.' || quote_ident(substr(i_name, v_dot + 1));
end $$;
