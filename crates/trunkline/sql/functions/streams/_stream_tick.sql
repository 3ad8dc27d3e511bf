-- Makes a tick of a stream when it is due: its id, or null. Due is: anything uncovered with `now`; else tick_count events,
-- or one that is older than tick_lag. Two at once wait for each other. What is uncovered is counted, not guessed from
-- ids, so a late commit on a quiet stream gets its tick like any other; with `empty`, so does nothing at all.
-- The snapshot is taken after the lock, in a statement of its own, so ticks are in the order of their numbers; one that
-- goes backwards raises TL008 (a restore). Null outside READ COMMITTED, where a snapshot may be old.
-- Locks: the stream's row, to the end of the transaction: commit soon.
create or replace function trunkline._stream_tick(stream int, now boolean, empty boolean) returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v      trunkline.stream;
    v_last trunkline.stream_tick;
    v_seen pg_snapshot;
    v_new  record;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        return null;
    end if;
    select * into v from trunkline.stream s where s.id = _stream_tick.stream for no key update;
    if v.tick_mode is distinct from 'auto' and not empty then
        return null;
    end if;
    v_seen := pg_current_snapshot();
    select * into v_last from trunkline.stream_tick t where t.stream = v.id order by t.id desc limit 1;
    if pg_snapshot_xmax(v_seen) < pg_snapshot_xmax(v_last.seen) then
        raise exception 'xids went backwards: stream "%" was read further than this cluster is', v.name
            using errcode = 'TL008', hint = 'run: trunkline schema repair';
    end if;
    v_seen := trunkline._log_snapshot(v_seen);
    select coalesce(sum(1), 0) as events, coalesce(sum(octet_length(w.payload)), 0) as bytes,
           coalesce(bit_or(1 << (w.segment & 3)), 0) as segments, min(w.at) as since
      into v_new from trunkline._stream_window(v.id, 7, v_last.seen, v_seen, 0, null, null) w;
    if v_new.events = 0 and not empty
       or not (now or empty or v_new.events >= v.tick_count or v_new.since < clock_timestamp() - v.tick_lag) then
        return null;
    end if;
    insert into trunkline.stream_tick (stream, id, seen, events, bytes, segments)
    values (v.id, v_last.id + 1, v_seen, v_new.events, v_new.bytes, v_new.segments);
    return v_last.id + 1;
end $$;
