-- Fits queues to the cluster they are in: after a restore, a clone, or a failover, when transactions count from elsewhere; how many.
-- Each event stays in the batch it was in; open batches stay open. Where nothing changed it sees to the sequences only: 0.
-- READ COMMITTED only. Locks: everything of PgQ, in ACCESS EXCLUSIVE.
create or replace function pgq._repair() returns integer
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_system bigint := (select system_identifier from pg_control_system());
    v_line   text := substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8);
    v_queue  pgq.queue;
    v_name   text;
    v_count  int := 0;
begin
    perform pgq._check_read_committed('pgq._repair');
    lock table pgq.queue, pgq.subscription, pgq.tick, pgq.retry_queue, pgq._guard in access exclusive mode;
    perform pgq._repair_sequences();
    if exists (select from pgq._info where system = v_system and timeline = v_line) then
        return 0;
    end if;
    for v_queue in select * from pgq.queue order by queue_id loop
        perform pgq._rebase(v_queue);
        v_count := v_count + 1;
    end loop;
    for v_name in select proname from pg_proc where pronamespace = 'pgq'::regnamespace and proname like '\_t\_%' loop
        execute format('drop function pgq.%I(record, record, text)', v_name);
    end loop;
    perform pgq._dispatch();
    perform pgq._dispatch_triggers();
    update pgq._info set system = v_system, timeline = v_line;
    return v_count;
end $$;
