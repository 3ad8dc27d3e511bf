-- The last number of a sequence, 1 where none was drawn yet. As the caller.
create or replace function pgq.seq_getval(i_seq_name text) returns bigint
language plpgsql volatile strict set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_dot   int := strpos(i_seq_name, '.');
    v_value bigint;
begin
    execute format('select last_value from %I.%I', case v_dot when 0 then 'public' else left(i_seq_name, v_dot - 1) end,
                   substr(i_seq_name, v_dot + 1)) into v_value;
    return v_value;
end $$;
