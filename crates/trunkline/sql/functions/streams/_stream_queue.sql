-- Waits for who is making a tick of the stream, 50 ms at most: true when nobody was. Two may tick at once all the same
-- (_stream_clock keeps their order), so this only saves ticks: a stranger with the key, or a long transaction, costs 50 ms.
-- Locks: a key, to the end of the transaction.
create or replace function trunkline._stream_queue(stream int) returns boolean
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp set lock_timeout = '50ms' as $$
begin
    if pg_try_advisory_xact_lock(1953656434, stream) then
        return true;
    end if;
    perform pg_advisory_xact_lock(1953656434, stream);
    return false;
exception when lock_not_available then
    return false;
end $$;
