-- Whether a queue needs a tick now: enough new events, or new ones that have waited long enough; without any, ever more seldom.
-- New is what moved the sequence, and what was committed since the last tick by a transaction that had its number before.
create or replace function pgq._tick_due(for_queue pgq.queue) returns boolean
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_last pgq.tick;
    v_new  bigint;
    v_lag  interval;
    v_gap  interval;
begin
    select * into v_last from pgq.tick where tick_queue = for_queue.queue_id order by tick_queue desc, tick_id desc limit 1;
    if not found then
        return true;
    end if;
    if txid_snapshot_xmin(v_last.tick_snapshot) > txid_snapshot_xmax(txid_current_snapshot()) then
        perform pgq._tick_refused(v_last.tick_snapshot, txid_current());
    end if;
    v_lag := now() - v_last.tick_time;
    v_new := pgq._last_event(for_queue.queue_event_seq) - v_last.tick_event_seq;
    if v_new > 0 then
        return v_new >= for_queue.queue_ticker_max_count or v_lag >= for_queue.queue_ticker_max_lag;
    end if;
    select v_last.tick_time - tick_time into v_gap from pgq.tick
     where tick_queue = for_queue.queue_id and tick_id < v_last.tick_id order by tick_queue desc, tick_id desc limit 1;
    if not found then
        return true;
    end if;
    return v_lag >= for_queue.queue_ticker_max_lag / 2 and (v_lag >= v_gap * 2 or v_lag >= for_queue.queue_ticker_idle_period)
        or v_lag >= for_queue.queue_ticker_max_lag and pgq._uncovered(for_queue, v_last.tick_snapshot);
end $$;
