-- The last number that an event's sequence gave, 1 where it gave none.
create or replace function pgq._last_event(sequence text) returns bigint
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return coalesce(pg_sequence_last_value(sequence::regclass), 1);
end $$;
