-- Puts up to ten events whose time has come back into their queues: how many; to be called until it is 0.
-- A queue that takes no events keeps its own aside, and one that fails is a warning: neither holds up another's.
-- Locks: the table in SHARE UPDATE EXCLUSIVE, so that each event is moved once.
create or replace function pgq.maint_retry_events() returns integer
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_event  record;
    v_count  int := 0;
    v_broken int[] := array[]::int[];
begin
    lock table pgq.retry_queue in share update exclusive mode;
    for v_event in
        select r.*, q.queue_name from pgq.retry_queue r join pgq.queue q on q.queue_id = r.ev_queue
         where r.ev_retry_after <= now()
           and (not q.queue_disable_insert or current_setting('session_replication_role') = 'replica')
         order by r.ev_retry_after
    loop
        exit when v_count = 10;
        continue when v_event.ev_queue = any (v_broken);
        begin
            perform pgq.insert_event_raw(v_event.queue_name, v_event.ev_id, v_event.ev_time, v_event.ev_owner, v_event.ev_retry,
                                         v_event.ev_type, v_event.ev_data, v_event.ev_extra1, v_event.ev_extra2,
                                         v_event.ev_extra3, v_event.ev_extra4);
            delete from pgq.retry_queue where ev_owner = v_event.ev_owner and ev_id = v_event.ev_id;
            v_count := v_count + 1;
        exception when others then
            raise warning 'maint_retry_events: queue %: %', v_event.queue_name, sqlerrm using errcode = sqlstate;
            v_broken := v_broken || v_event.ev_queue;
        end;
    end loop;
    return v_count;
end $$;
