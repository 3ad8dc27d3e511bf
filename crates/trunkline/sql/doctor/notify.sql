-- The queue of NOTIFY: when it is full, every NOTIFY fails, and with it the commit of whoever sends one. And who may be why: listeners
-- that do not read what they are sent for longer than $1 seconds, or do not end their transaction.
select case when q.used >= 0.5 then 'critical' else 'warning' end as level, null as object,
       format('the queue of NOTIFY is %s %% full', round(q.used * 100)) as finding,
       'when it is full every transaction that notifies fails, of whatever program' as consequence,
       'end the listening session whose transaction has been open longest: select pid, xact_start, query from pg_stat_activity'
       ' where xact_start is not null order by xact_start; then select pg_terminate_backend(pid)' as remedy
  from (select pg_catalog.pg_notification_queue_usage()::numeric as used) q
 where q.used >= 0.1 and $1 >= 0
union all
select 'warning', 'session ' || a.pid,
       format('session %s (%s, %s) has read nothing of what it is sent for %s', a.pid, coalesce(nullif(a.application_name, ''), 'no name'),
              a.usename, date_trunc('second', clock_timestamp() - a.xact_start)),
       'all that is notified since stays in the queue of NOTIFY, for everybody, and nothing that was deleted since can be vacuumed',
       format('select pg_terminate_backend(%s);', a.pid)
  from pg_catalog.pg_stat_activity a
 where a.backend_type = 'client backend' and a.state = 'idle' and a.wait_event = 'ClientWrite'
   and a.xact_start < clock_timestamp() - make_interval(secs => $1)
