-- Begins a new epoch on this cluster: after a restore, a clone, or a failover to a standby. The new epoch's number.
-- Cursors that count in the old cluster's xids are set back to "everything kept"; what was answered stays answered.
-- Streams are rebased: every consumer goes on where it was. Jobs that had not ended are held, leases void, volatile messages gone. A
-- repair where nothing changed does nothing and returns the epoch in force; a dump that was restored in its own cluster keeps its
-- epoch. Locks: the epoch table, the rings, streams.
create or replace function trunkline.schema_repair() returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_epoch trunkline.epoch;
    v_id    bigint := (select system_identifier from pg_control_system());
    v_line  text := substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8);
begin
    perform trunkline._check_read_committed('schema_repair');
    if exists (select from pg_proc where oid = to_regprocedure('pgq._repair()') and proowner = current_user::regrole) then
        execute format('select %s', to_regprocedure('pgq._repair()'));     -- the adapter for PgQ keeps its own note of the cluster it is in
    end if;
    lock table trunkline.epoch in exclusive mode;
    select * into v_epoch from trunkline.epoch order by epoch desc limit 1;
    if v_epoch.system_identifier <> v_id or v_epoch.timeline <> v_line
       or exists (select from trunkline.stream s where s.home <> 'trunkline.stream'::regclass) then
        perform trunkline._stream_rebase();
    end if;
    if v_epoch.system_identifier = v_id and v_epoch.timeline = v_line then
        return v_epoch.epoch;
    end if;
    perform trunkline._request_rebase_e();
    perform trunkline._request_rebase_d();
    perform trunkline._job_rebase_e();
    perform trunkline._job_rebase_d();
    perform trunkline._lease_rebase();
    perform trunkline._topic_rebase();
    insert into trunkline.epoch (epoch, system_identifier, timeline)
        values (v_epoch.epoch + 1, v_id, v_line);
    return v_epoch.epoch + 1;
end $$;
