-- Empties a segment of a queue whose slowest consumer is at this tick (null: there is none). False where that one still is in the
-- segment before; 55P03 where somebody holds the segment, or it has a row whose transaction the tick does not see.
-- Never waits for the segment: who waits for this lock makes every reader wait.
create or replace function pgq._empty_segment(for_queue pgq.queue, segment integer, slowest bigint) returns boolean
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_name  text := format('event_%s_%s', for_queue.queue_id, segment);
    v_slow  txid_snapshot;
    v_needs boolean := false;
begin
    if slowest is not null then
        select tick_snapshot into v_slow from pgq.tick where tick_queue = for_queue.queue_id and tick_id = slowest;
        if not found then
            raise exception 'tick % not found', slowest;
        elsif txid_snapshot_xmin(v_slow) <= for_queue.queue_switch_step2 then
            return false;
        end if;
    end if;
    execute format('lock table pgq.%I in access exclusive mode nowait', v_name);
    if v_slow is not null then
        execute format('select exists (select from pgq.%I where ev_txid >= $1 and not txid_visible_in_snapshot(ev_txid, $2))', v_name)
           into v_needs using txid_snapshot_xmin(v_slow), v_slow;
    end if;
    if v_needs then
        raise exception 'segment % of queue % is needed', segment, for_queue.queue_name using errcode = '55P03';
    end if;
    execute format('truncate pgq.%I', v_name);
    execute format('drop trigger if exists _sealed on pgq.%I', v_name);
    delete from pgq._sealed s where s.queue_id = for_queue.queue_id and s.segment = _empty_segment.segment;
    return true;
end $$;
