-- Compares this cluster with the newest epoch: raises TL008 when it is another cluster, or another timeline of it.
-- After a restore, a clone or a failover to a standby ids and xids repeat; `trunkline schema repair` begins a new epoch.
create or replace function trunkline._epoch_check() returns int
language plpgsql stable security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_epoch trunkline.epoch;
    v_id    bigint := (select system_identifier from pg_control_system());
    v_line  text := substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8);
begin
    select * into v_epoch from trunkline.epoch order by epoch desc limit 1;
    if v_epoch.system_identifier <> v_id or v_epoch.timeline <> v_line then
        raise exception 'epoch % belongs to system % timeline %, this server is system % timeline %',
            v_epoch.epoch, v_epoch.system_identifier, v_epoch.timeline, v_id, v_line
            using errcode = 'TL008', hint = 'run: trunkline schema repair';
    end if;
    return v_epoch.epoch;
end $$;
