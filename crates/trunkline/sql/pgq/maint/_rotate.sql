-- Rotates a queue that is due, or raises 55P03 where it cannot now: then its locks are gone with the caller's block.
-- The next segment is emptied under ACCESS EXCLUSIVE, after a look under the lock that the slowest consumer's tick sees
-- every row's transaction. Marks only say when to try: a row that a late writer put there keeps its segment.
create or replace function pgq._rotate(for_queue integer) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_queue pgq.queue;
    v_next  int;
    v_tick  bigint;
begin
    perform pgq._check_read_committed('pgq.maint_rotate_tables_step1');
    perform from pgq.queue where queue_id = for_queue for no key update;
    select * into v_queue from pgq.queue
     where queue_id = for_queue and queue_switch_step2 is not null and queue_switch_time + queue_rotation_period < now();
    if not found then
        return;
    elsif txid_current() < v_queue.queue_switch_step1 then
        raise exception 'step1=%, current=%', v_queue.queue_switch_step1, txid_current()
            using hint = 'after a restore, a clone or a failover run: trunkline schema repair';
    end if;
    perform from pgq._guard where queue_id = for_queue for update nowait;
    select min(sub_last_tick) into v_tick from pgq.subscription where sub_queue = for_queue;
    v_next := (v_queue.queue_cur_table + 1) % v_queue.queue_ntables;
    if not pgq._empty_segment(v_queue, v_next, v_tick) then
        return;
    end if;
    update pgq._guard set rotations = rotations + 1 where queue_id = for_queue;
    update pgq.queue set queue_cur_table = v_next, queue_switch_time = now(), queue_switch_step1 = txid_current(),
                         queue_switch_step2 = null
     where queue_id = for_queue;
    -- Ticks of the period before last: those of the last one stay, so that a consumer can be moved back to them.
    delete from pgq.tick
     where tick_queue = for_queue and txid_snapshot_xmin(tick_snapshot) < v_queue.queue_switch_step2
       and tick_id < (select coalesce(v_tick, max(l.tick_id)) from pgq.tick l where l.tick_queue = for_queue);
    perform pgq._seal(for_queue, (v_next + 1) % v_queue.queue_ntables);
end $$;
