-- Makes a tick with a number and a time from outside, of a stream whose tick_mode is external, as a copy of another stream is
-- ticked: the events it covers. Numbers rise, and may leave some out. Errors: 42704; 55000 in another tick_mode; 22004,
-- 22023 for a number that does not rise; TL008 after a restore; 25001 outside READ COMMITTED.
-- Locks: the stream's row and its clock, to the end of the transaction: commit soon.
create or replace function trunkline.stream_tick_at(stream text, id bigint, at timestamptz default clock_timestamp()) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v      trunkline.stream := trunkline._stream_named(stream_tick_at.stream);
    v_last trunkline.stream_tick;
    v_seen pg_snapshot;
    v_new  record;
begin
    perform trunkline._check_read_committed('stream_tick_at');
    if stream_tick_at.id is null or stream_tick_at.at is null then
        raise exception 'tick % must not be null', case when stream_tick_at.id is null then 'number' else 'time' end
            using errcode = '22004';
    end if;
    select * into v from trunkline.stream s where s.id = v.id for no key update;
    perform from trunkline.stream_clock c where c.stream = v.id for update;
    v_seen := pg_current_snapshot();
    select * into v_last from trunkline.stream_tick t where t.stream = v.id order by t.id desc limit 1;
    if v.tick_mode <> 'external' then
        raise exception 'stream "%" is ticked by itself: its tick_mode is %', v.name, v.tick_mode using errcode = '55000',
            hint = 'select trunkline.stream_set(stream, ''tick_mode'', ''external'')';
    elsif stream_tick_at.id <= v_last.id then
        raise exception 'tick number must be above %, got %', v_last.id, stream_tick_at.id using errcode = '22023';
    elsif not isfinite(stream_tick_at.at) then
        raise exception 'tick time must be finite' using errcode = '22023';
    elsif pg_snapshot_xmax(v_seen) < pg_snapshot_xmax(v_last.seen) then
        raise exception 'xids went backwards: stream "%" was read further than this cluster is', v.name
            using errcode = 'TL008', hint = 'run: trunkline schema repair';
    end if;
    v_seen := trunkline._log_snapshot(v_seen);
    select count(*) as events, coalesce(sum(octet_length(w.payload)), 0) as bytes, coalesce(bit_or(1 << (w.segment & 3)), 0) as segments
      into v_new from trunkline._stream_window(v.id, 7, v_last.seen, v_seen, 0, null, null) w;
    insert into trunkline.stream_tick (stream, id, at, seen, events, bytes, segments)
    values (v.id, stream_tick_at.id, stream_tick_at.at, v_seen, v_new.events, v_new.bytes, v_new.segments);
    perform setval(format('trunkline.stream_tick_%s', v.id)::regclass, stream_tick_at.id);
    perform trunkline._door_ring(-1 - (v.id & 63));
    return v_new.events;
end $$;
