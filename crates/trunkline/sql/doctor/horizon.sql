-- Who keeps old row versions: sessions, prepared transactions, slots and standbys that hold the horizon, for longer than $1 seconds.
select 'warning' as level, h.object, h.finding,
       'nothing that was deleted since can be vacuumed, in any table of the database: held jobs, sessions and leases get slower'
           as consequence,
       h.remedy
  from (select 'session ' || a.pid as object,
               format('session %s (%s, %s) keeps the horizon: its transaction is open for %s, its last statement began %s ago, and it is '
                      '%s', a.pid, coalesce(nullif(a.application_name, ''), 'no name'), a.usename,
                      date_trunc('second', clock_timestamp() - a.xact_start), date_trunc('second', clock_timestamp() - a.query_start),
                      a.state) as finding,
               format('select pg_terminate_backend(%s);', a.pid) as remedy
          from pg_catalog.pg_stat_activity a
         where a.backend_type = 'client backend' and a.pid <> pg_catalog.pg_backend_pid()
           and (a.backend_xid is not null or a.backend_xmin is not null and a.datname = current_database())
           and a.xact_start < clock_timestamp() - make_interval(secs => $1)
        union all
        select 'prepared transaction ' || p.gid,
               format('the prepared transaction %L of %s is open for %s', p.gid, p.owner,
                      date_trunc('second', clock_timestamp() - p.prepared)),
               format('rollback prepared %L;  -- or commit prepared, in the database %I', p.gid, p.database)
          from pg_catalog.pg_prepared_xacts p
         where p.prepared < clock_timestamp() - make_interval(secs => $1)
        union all
        select 'slot ' || s.slot_name,
               format('the %s replication slot %I is %s, and keeps the horizon %s transactions back', s.slot_type, s.slot_name,
                      case when s.active then format('used by pid %s', s.active_pid) else 'not used' end,
                      greatest(age(s.xmin), age(s.catalog_xmin))),
               case when s.active then 'end the long queries on who reads it, or set hot_standby_feedback = off there'
                    else format('select pg_drop_replication_slot(%L);', s.slot_name) end
          from pg_catalog.pg_replication_slots s
         where (s.xmin is not null or s.catalog_xmin is not null)
           and (not s.active or greatest(age(s.xmin), age(s.catalog_xmin)) > 1000000)
        union all
        select 'standby ' || r.application_name,
               format('the standby %s (pid %s) keeps the horizon by hot_standby_feedback, %s transactions back', r.application_name, r.pid,
                      age(r.backend_xmin)),
               'end the long queries on the standby, or set hot_standby_feedback = off there'
          from pg_catalog.pg_stat_replication r
         where age(r.backend_xmin) > 1000000) h
