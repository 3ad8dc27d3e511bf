-- Processes that went away and were not buried: nobody runs the duties.
select 'warning' as level, 'session ' || s.id as object,
       format('the session %s of %s is over since %s, and nobody has buried it', s.id, s.application, date_trunc('second', s.expires_at))
           as finding,
       'what it had taken is handed on to nobody' as consequence,
       'trunkline serve  -- or, now: select trunkline.maintain();' as remedy
  from trunkline.session_list() s
 where not s.alive and s.expires_at < clock_timestamp() - make_interval(secs => $1)
