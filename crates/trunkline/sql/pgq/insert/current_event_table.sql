-- The table that events of this queue go to now, for COPY in the same transaction.
create or replace function pgq.current_event_table(x_queue_name text) returns text
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_queue pgq.queue;
begin
    select * into v_queue from pgq.queue where queue_name = x_queue_name;
    if not found then
        raise exception 'Event queue not found';
    end if;
    if v_queue.queue_disable_insert and current_setting('session_replication_role') <> 'replica' then
        raise exception 'Writing to queue disabled';
    end if;
    return v_queue.queue_data_pfx || '_' || v_queue.queue_cur_table;
end $$;
