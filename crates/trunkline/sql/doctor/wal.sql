-- Slots that keep WAL, and commits that wait for a standby that is not there.
select w.level, w.object, w.finding, w.consequence, w.remedy
  from (select 'warning' as level, 'slot ' || s.slot_name as object,
               format('the replication slot %I is not used, and keeps %s of WAL', s.slot_name, pg_size_pretty(d.bytes)) as finding,
               'the disk fills up, and then the server stops' as consequence,
               format('select pg_drop_replication_slot(%L);  -- or let its consumer come back', s.slot_name) as remedy
          from pg_catalog.pg_replication_slots s
         cross join lateral (select pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn) as bytes) d
         where not s.active and d.bytes > 1073741824 and not pg_is_in_recovery()
        union all
        select 'critical', 'synchronous_standby_names', 'commits wait for a synchronous standby, and none is connected',
               'every push, append and reply hangs until its deadline',
               'bring the standby back, or: alter system reset synchronous_standby_names; select pg_reload_conf();'
         where current_setting('synchronous_standby_names') <> '' and current_setting('synchronous_commit') not in ('off', 'local')
           and not exists (select from pg_catalog.pg_stat_replication r where r.sync_state in ('sync', 'quorum'))
           and pg_has_role('pg_monitor', 'usage')) w
 where $1 >= 0
