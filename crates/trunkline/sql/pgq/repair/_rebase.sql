-- Writes the transactions of a queue's events and the snapshots of its ticks anew, in numbers that are past on this cluster.
-- Each event is visible at the same ticks as before: those first seen by one tick share a number, next below that tick's.
create or replace function pgq._rebase(for_queue pgq.queue) returns void
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_numbers bigint[];
    v_name    text;
    v_mark    bigint;
begin
    delete from pgq._rebase_tick;
    delete from pgq._rebase_txid;
    insert into pgq._rebase_tick (tick_id, snapshot, upto)
        select tick_id, tick_snapshot, txid_snapshot_xmax(tick_snapshot) from pgq.tick where tick_queue = for_queue.queue_id;
    execute format('insert into pgq._rebase_txid (txid) select distinct ev_txid from pgq.%I', 'event_' || for_queue.queue_id);
    update pgq._rebase_txid e
       set tick_id = (select t.tick_id from pgq._rebase_tick t
                       where t.upto > e.txid and txid_visible_in_snapshot(e.txid, t.snapshot) order by t.upto, t.tick_id limit 1);
    update pgq._rebase_tick t set turn = n.turn
      from (select k.tick_id, count(e.tick_id) over (order by k.tick_id) as turn
              from pgq._rebase_tick k left join (select distinct tick_id from pgq._rebase_txid) e on e.tick_id = k.tick_id) n
     where n.tick_id = t.tick_id;
    v_numbers := pgq._past_numbers(1 + coalesce((select max(turn) from pgq._rebase_tick), 0));
    select v_numbers[1 + t.turn] into v_mark
      from pgq._rebase_tick t where txid_snapshot_xmin(t.snapshot) <= coalesce(for_queue.queue_switch_step2, for_queue.queue_switch_step1)
     order by t.tick_id desc limit 1;
    v_mark := coalesce(v_mark, v_numbers[1] - 1);
    for v_name in select format('event_%s_%s', for_queue.queue_id, nr) from generate_series(0, for_queue.queue_ntables - 1) nr loop
        execute format('lock table pgq.%I in access exclusive mode', v_name);
        execute format('update pgq.%I v set ev_txid = coalesce($1[t.turn], $1[cardinality($1)])'
                       ' from pgq._rebase_txid e left join pgq._rebase_tick t on t.tick_id = e.tick_id where e.txid = v.ev_txid', v_name)
          using v_numbers;
    end loop;
    update pgq.tick k set tick_snapshot = format('%1$s:%1$s:', v_numbers[1 + t.turn])::txid_snapshot
      from pgq._rebase_tick t where k.tick_queue = for_queue.queue_id and k.tick_id = t.tick_id;
    update pgq._sealed set max_txid = v_numbers[cardinality(v_numbers)] where queue_id = for_queue.queue_id;
    update pgq.queue set queue_switch_step1 = v_mark, queue_switch_step2 = case when queue_switch_step2 is not null then v_mark end
     where queue_id = for_queue.queue_id;
    delete from pgq._rebase_tick;
    delete from pgq._rebase_txid;
end $$;
