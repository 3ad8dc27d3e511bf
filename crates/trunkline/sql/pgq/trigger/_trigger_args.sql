-- The arguments of a trigger, which the catalogue keeps in one value, each with a zero byte behind it.
create or replace function pgq._trigger_args(args bytea) returns text[]
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_rest bytea := args;
    v_end  int;
    v_all  text[] := array[]::text[];
begin
    loop
        v_end := position('\x00'::bytea in v_rest);
        exit when v_end = 0;
        v_all := v_all || convert_from(substring(v_rest from 1 for v_end - 1), getdatabaseencoding());
        v_rest := substring(v_rest from v_end + 1);
    end loop;
    return v_all;
end $$;
