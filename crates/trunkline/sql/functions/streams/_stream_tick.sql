-- Makes a tick of a stream when it is due: its id, or null. Due is: anything uncovered with `now`; else tick_count events,
-- or one that is older than tick_lag. What is uncovered is counted, not guessed from ids, so a late commit on a quiet
-- stream gets its tick like any other; with `empty`, so does nothing at all. A look that locks nothing comes first.
-- Ticks are in the order of their numbers, whoever makes them and commits when (_stream_clock). Of two at once the later
-- counts again what the other, not committed yet, covers; so its window may hold fewer events than it says, never more.
-- One that goes backwards raises TL008 (a restore). Null outside READ COMMITTED, where a snapshot may be old.
-- Locks: a key, waited for 50 ms at most (_stream_queue); nothing that keeps others from their ticks.
create or replace function trunkline._stream_tick(stream int, now boolean, empty boolean) returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v      trunkline.stream;
    v_last trunkline.stream_tick;
    v_prev trunkline.stream_tick;
    v_look pg_snapshot;
    v_tick record;
    v_new  record;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        return null;
    end if;
    select * into v from trunkline.stream s where s.id = _stream_tick.stream;
    if v.id is null or v.tick_mode is distinct from 'auto' and not empty then
        return null;
    end if;
    for v_try in 1..2 loop                                 -- twice when another made one meanwhile
        select * into v_last from trunkline.stream_tick t where t.stream = v.id order by t.id desc limit 1;
        v_look := trunkline._log_snapshot(pg_current_snapshot());
        if pg_snapshot_xmax(v_look) < pg_snapshot_xmax(v_last.seen) then
            raise exception 'xids went backwards: stream "%" was read further than this cluster is', v.name
                using errcode = 'TL008', hint = 'run: trunkline schema repair';
        end if;
        select * into v_new from trunkline._stream_measure(v.id, v_last.seen, v_look);
        if v_new.events = 0 and not empty
           or not (now or empty or v_new.events >= v.tick_count or v_new.since < clock_timestamp() - v.tick_lag) then
            return null;
        end if;
        exit when v_try = 2 or trunkline._stream_queue(v.id);
    end loop;
    select * into v_tick from trunkline._stream_clock(v.id);
    select * into v_prev from trunkline.stream_tick t where t.stream = v.id and t.id < v_tick.id order by t.id desc limit 1;
    if v_prev.id <> v_last.id or v_tick.seen::text <> v_look::text then
        select * into v_new from trunkline._stream_measure(v.id, v_prev.seen, v_tick.seen);
        if v_new.events = 0 and not empty then
            return null;
        end if;
    end if;
    insert into trunkline.stream_tick (stream, id, seen, events, bytes, segments)
    values (v.id, v_tick.id, v_tick.seen, v_new.events, v_new.bytes, v_new.segments);
    insert into trunkline.stream_mark (stream, tick, upto, segment, after, file, first_row, last_row, events, bytes)
    select m.stream, v_tick.id, m.upto, m.segment, m.after, m.file, m.first_row, m.last_row, m.events, m.bytes
      from unnest(v_new.marks) m;
    return v_tick.id;
end $$;
