-- Code that refuses columns that look as if they gave a field of the event, and give none.
create or replace function pgq._trigger_magic(columns text[]) returns text
language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_bad text := (select c from unnest(columns) c
                    where starts_with(c, '_pgq_ev_') and c !~ '^_pgq_ev_(type|data|extra[1-4])$' limit 1);
begin
    return case when v_bad is null then ''
                else format(e'raise exception using message = %L, errcode = ''XX000'';\n', 'Unknown magic column: ' || v_bad) end;
end $$;
