-- The queue of NOTIFY: when it is full, every NOTIFY fails, and with it the commit of whoever sends one.
select case when q.used >= 0.5 then 'critical' else 'warning' end as level, null as object,
       format('the queue of NOTIFY is %s %% full', round(q.used * 100)) as finding,
       'when it is full every transaction that notifies fails, of whatever program' as consequence,
       'end the listening session whose transaction has been open longest: select pid, xact_start, query from pg_stat_activity'
       ' where xact_start is not null order by xact_start; then select pg_terminate_backend(pid)' as remedy
  from (select pg_catalog.pg_notification_queue_usage()::numeric as used) q
 where q.used >= 0.1 and $1 >= 0
