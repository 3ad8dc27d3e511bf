-- Moves a sequence of PgQ on, so that its next number is beyond this one; does nothing where it is.
create or replace function pgq._advance(sequence text, given bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_sequence regclass := format('pgq.%I', sequence)::regclass;
begin
    if given > coalesce(pg_sequence_last_value(v_sequence), 0) then
        perform setval(v_sequence, given);
    end if;
end $$;
