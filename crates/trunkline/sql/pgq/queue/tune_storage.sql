-- Sets the storage options of a queue's segments, which are only filled and emptied: 1, or 0 without such a queue.
create or replace function pgq.tune_storage(i_queue_name text) returns integer
language plpgsql volatile strict set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_queue pgq.queue;
begin
    select * into v_queue from pgq.queue where queue_name = i_queue_name;
    if not found then
        return 0;
    end if;
    for v_nr in 0 .. v_queue.queue_ntables - 1 loop
        execute format('alter table pgq.%I set (fillfactor = 100, autovacuum_enabled = off, toast.autovacuum_enabled = off)',
                       format('event_%s_%s', v_queue.queue_id, v_nr));
    end loop;
    return 1;
end $$;
