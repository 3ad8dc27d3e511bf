-- An expression among a trigger's arguments, with the columns that it names taken from this row; SQL for its value as a text.
-- A word that is a column's name to the letter is the column; what is quoted, commented or has a dot in it is left as it is.
create or replace function pgq._trigger_expression(expression text, columns text[], row_name text) returns text
language plpgsql immutable strict set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_token constant text :=
        '^(\s+|--[^\n]*|/\*.*?\*/|[eE]''(?:[^''\\]|''''|\\.)*''|''(?:[^'']|'''')*''|"(?:[^"]|"")*"'
        '|[A-Za-z_](?:[A-Za-z0-9_.]|"(?:[^"]|"")*")*|[0-9.]+(?:[eE][+-]?[0-9]+)?|\$[0-9]+|(\$[A-Za-z_]*\$).*?\2|.)';
    v_rest  text := expression;
    v_found text;
    v_out   text := '';
begin
    while v_rest <> '' loop
        v_found := (regexp_match(v_rest, v_token))[1];
        v_rest := substr(v_rest, length(v_found) + 1);
        v_out := v_out || case when v_found = any (columns) then pgq._field(row_name, v_found) else v_found end;
    end loop;
    return v_out;
end $$;
