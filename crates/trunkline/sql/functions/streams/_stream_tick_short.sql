-- Makes a tick of a stream after the newest, which has this number and snapshot, in the usual case: its number and what it
-- covers. events is 0 when there is nothing; id is null then, and when the case is another, for which _stream_tick is: others
-- make one, the oldest transaction in progress is far from its end, much is uncovered, or xids went backwards. In READ COMMITTED
-- only, in a transaction that wrote nothing.
-- Locks: as _stream_tick.
create or replace function trunkline._stream_tick_short(stream int, last bigint, lo pg_snapshot,
                                                        out id bigint, out events bigint, out bytes bigint)
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_seen     pg_snapshot;
    v_new      bigint;
    v_segments int;
begin
    if not trunkline._log_near(lo) or pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax(lo) then
        return;
    end if;
    for v_try in 1..2 loop                                 -- a look that locks nothing, and the tick
        if v_try = 2 and not pg_try_advisory_xact_lock(1953656434, stream) then
            events := null;
            return;
        end if;
        begin                                              -- see _stream_clock; and no segment stays locked
            if v_try = 2 then
                perform from trunkline.stream_clock c where c.stream = _stream_tick_short.stream for update;
            end if;
            v_seen := pg_current_snapshot();
            if v_try = 2 then
                v_new := nextval(format('trunkline.stream_tick_%s', stream)::regclass);
                v_seen := trunkline._log_snapshot(v_seen);
            end if;
            execute format('select events, bytes, segments from trunkline._stream_measure_%s($1, $2)', stream)
                into events, bytes, v_segments using lo, v_seen;
            raise exception using errcode = 'raise_exception';
        exception when raise_exception then
            null;
        end;
        exit when events = 0;
    end loop;
    if events > 20000 or exists (
        select from trunkline.stream_tick t where t.stream = _stream_tick_short.stream and t.id > last and t.id < v_new) then
        events := null;
    elsif events > 0 then
        insert into trunkline.stream_tick (stream, id, seen, events, bytes, segments)
        values (stream, v_new, v_seen, events, bytes, v_segments);
        id := v_new;
    end if;
end $$;
