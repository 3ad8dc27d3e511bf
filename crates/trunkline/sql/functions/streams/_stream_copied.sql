-- Notes that a batch of another stream goes into this one, in the transaction that appends it: false when that was done
-- before, so that nothing is to be appended. Who copies the same batch at the same time waits for the end of this.
-- Errors: 42704 for a stream that is not there. Locks: the note's row, to the end of the transaction.
create or replace function trunkline._stream_copied(stream text, source text, turn bigint) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_of int := (trunkline._stream_named(_stream_copied.stream)).id;
begin
    insert into trunkline.stream_copy as c (stream, source, role, turn)
    values (v_of, _stream_copied.source, trunkline._role(), _stream_copied.turn)
        on conflict (stream, source, role) do update set turn = excluded.turn, copied_at = clock_timestamp()
     where c.turn < excluded.turn;
    return found;
end $$;
