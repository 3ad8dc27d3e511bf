-- Stores a tick with a snapshot of this moment. The caller holds the queue's row, so that ticks are stored one by one.
-- The own transaction counts as in progress: what it inserts before and after comes with the next tick, all at once.
-- Errors: ids and snapshots rise; a snapshot that is behind the last one's shows a database restored elsewhere.
create or replace function pgq._tick_insert(for_queue integer, id bigint, at timestamptz, seq bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_last pgq.tick;
    v_now  txid_snapshot;
    v_own  bigint := txid_current();
begin
    select * into v_last from pgq.tick where tick_queue = for_queue order by tick_queue desc, tick_id desc limit 1;
    if v_last.tick_id > id then
        raise exception 'tick % is behind the last one, %', id, v_last.tick_id using errcode = '55000';
    end if;
    select txid_current_snapshot() into v_now;
    if txid_visible_in_snapshot(v_own, v_now) then
        select format('%s:%s:%s', txid_snapshot_xmin(v_now), txid_snapshot_xmax(v_now), string_agg(x::text, ',' order by x))::txid_snapshot
          into v_now from (select txid_snapshot_xip(v_now) union all select v_own) i (x);
    end if;
    if txid_snapshot_xmin(v_now) < txid_snapshot_xmin(v_last.tick_snapshot)
       or txid_snapshot_xmax(v_now) < txid_snapshot_xmax(v_last.tick_snapshot) then
        perform pgq._tick_refused(v_last.tick_snapshot, v_own);
    end if;
    insert into pgq.tick (tick_queue, tick_id, tick_time, tick_snapshot, tick_event_seq)
        values (for_queue, id, at, v_now, seq);
end $$;
