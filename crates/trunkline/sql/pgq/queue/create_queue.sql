-- Makes a queue with its tables, sequences and first tick: 1, or 0 when there is one of this name.
-- Locks: `_guard` in SHARE ROW EXCLUSIVE to the end of the transaction, for the insert functions are written anew.
create or replace function pgq.create_queue(i_queue_name text) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_queue pgq.queue;
    v_id    int;
    v_event text;
begin
    if i_queue_name is null then
        raise exception 'Invalid NULL value';
    end if;
    if exists (select from pgq.queue where queue_name = i_queue_name) then
        return 0;
    end if;
    lock table pgq._guard in share row exclusive mode;
    if exists (select from pgq.queue where queue_name = i_queue_name) then
        return 0;                                   -- somebody made it while we waited
    end if;
    v_id := nextval('pgq.queue_queue_id_seq');
    v_event := 'event_' || v_id;
    insert into pgq.queue (queue_id, queue_name, queue_data_pfx, queue_event_seq, queue_tick_seq)
        values (v_id, i_queue_name, 'pgq.' || v_event, 'pgq.' || v_event || '_id_seq', 'pgq.' || v_event || '_tick_seq')
        returning * into v_queue;
    insert into pgq._guard (queue_id) values (v_id);
    execute format('create sequence pgq.%I', v_event || '_tick_seq');
    execute format('create sequence pgq.%I', v_event || '_id_seq');
    execute format('create table pgq.%I () inherits (pgq.event_template)', v_event);
    for v_nr in 0 .. v_queue.queue_ntables - 1 loop
        execute format('create table pgq.%I () inherits (pgq.%I)', v_event || '_' || v_nr, v_event);
        execute format('alter table pgq.%I alter column ev_id set default nextval(%L)', v_event || '_' || v_nr, v_queue.queue_event_seq);
        execute format('create index %I on pgq.%I (ev_txid)', v_event || '_' || v_nr || '_txid_idx', v_event || '_' || v_nr);
    end loop;
    perform pgq.grant_perms(i_queue_name);
    perform pgq.tune_storage(i_queue_name);
    perform pgq._seal(v_id, nr) from generate_series(1, v_queue.queue_ntables - 1) nr;
    -- No event can be older than the tables, so that any snapshot will do for the first tick.
    insert into pgq.tick (tick_queue, tick_id, tick_event_seq)
        values (v_id, nextval(v_queue.queue_tick_seq::regclass), pgq.seq_getval(v_queue.queue_event_seq));
    perform pgq._dispatch();
    return 1;
end $$;
