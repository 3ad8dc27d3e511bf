-- Settings of the server that endanger messages, or let others read them.
select s.level, s.name as object, s.name || ' is ' || s.value as finding, s.consequence, s.remedy
  from (select 'critical' as level, p.name, p.setting as value,
               'a crash of the machine can lose or break what was committed, messages included' as consequence,
               format('alter system set %I = on; select pg_reload_conf();', p.name) as remedy
          from pg_catalog.pg_settings p where p.name in ('fsync', 'full_page_writes') and p.setting = 'off'
        union all
        select 'critical', p.name, p.setting, 'damaged pages are emptied instead of reported: messages vanish in silence',
               format('alter system reset %I; select pg_reload_conf();', p.name)
          from pg_catalog.pg_settings p where p.name in ('zero_damaged_pages', 'ignore_checksum_failure') and p.setting = 'on'
        union all
        select 'warning', p.name, p.setting,
               'a crash of the server loses the last few hundred milliseconds of what was committed: pushed jobs, events, finished work',
               'set synchronous_commit = on where it is off: alter system, alter database or alter role'
          from pg_catalog.pg_settings p where p.name = 'synchronous_commit' and p.setting = 'off'
        union all
        select 'warning', p.name, p.setting, 'tables bloat, and transaction numbers run out',
               format('alter system set %I = on; select pg_reload_conf();', p.name)
          from pg_catalog.pg_settings p where p.name in ('autovacuum', 'track_counts') and p.setting = 'off'
        union all
        select 'warning', 'log_statement', p.setting, 'payloads of messages that are sent as SQL text are in the server''s log',
               'alter system set log_statement = ''none''; select pg_reload_conf();'
          from pg_catalog.pg_settings p where p.name = 'log_statement' and p.setting in ('mod', 'all')
        union all
        select 'warning', 'log_parameter_max_length', 'unlimited while statements are logged',
               'payloads of messages are in the server''s log',
               'alter system set log_parameter_max_length = 0; select pg_reload_conf();'
          from pg_catalog.pg_settings p
         where p.name = 'log_parameter_max_length' and p.setting = '-1'
           and (current_setting('log_statement') in ('mod', 'all') or current_setting('log_min_duration_statement') = '0')) s
 where $1 >= 0
