-- Code that looks at what an UPDATE changed, in the order of the columns: the key must not have changed; `v_ignored` when only
-- columns that are left out have. Without a list of these only the key is looked at.
create or replace function pgq._trigger_check(kind text, relation oid, key text, ignored text) returns text
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_column record;
    v_code   text := e'loop\n';
begin
    for v_column in
        select pgq._differs(c.name, c.type) as differs, c.is_key, c.is_left_out
          from pgq._trigger_columns(relation, key, ignored) c
         where c.is_key or ignored is not null and kind <> 'sqltriga'
    loop
        v_code := v_code || format('if %s then ', v_column.differs) || case
            when v_column.is_key then 'raise exception ''primary key update not allowed'' using errcode = ''XX000'';'
            when v_column.is_left_out then 'v_ignored := true;'
            else 'v_ignored := false; exit;' end || e' end if;\n';
    end loop;
    return v_code || e'exit;\nend loop;\n';
end $$;
