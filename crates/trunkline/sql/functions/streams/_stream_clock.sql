-- The number and the snapshot of a tick that is to be made: later numbers have later snapshots. Read under a row lock, in a
-- subtransaction that is rolled back, which lets go of it at once: a tick that is not committed holds up no other.
create or replace function trunkline._stream_clock(stream int, out id bigint, out seen pg_snapshot)
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    begin
        perform from trunkline.stream_clock c where c.stream = _stream_clock.stream for update;
        seen := pg_current_snapshot();
        id := nextval(format('trunkline.stream_tick_%s', stream)::regclass);
        raise exception using errcode = 'raise_exception';
    exception when raise_exception then
        null;
    end;
    seen := trunkline._log_snapshot(seen);
end $$;
