-- Moves a sequence forward to a number, never back; where it is then. As the caller.
create or replace function pgq.seq_setval(i_seq_name text, i_new_value bigint) returns bigint
language plpgsql volatile strict set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_value bigint := pgq.seq_getval(i_seq_name);
begin
    if v_value >= i_new_value then
        return v_value;
    end if;
    return setval(pgq.quote_fqname(i_seq_name)::regclass, i_new_value);
end $$;
