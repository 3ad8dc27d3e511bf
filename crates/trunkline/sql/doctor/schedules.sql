-- Schedules that are due and that nobody fires, or that cannot be fired.
select case when s.error is null then 'critical' else 'warning' end as level, 'schedule ' || s.name as object,
       case when s.error is null
            then format('the schedule %s was due at %s, and nobody has fired it', s.name, date_trunc('second', s.next_at))
            else format('the schedule %s could not be fired: %s', s.name, s.error) end as finding,
       'its jobs are not pushed' as consequence,
       case when s.error is null then 'trunkline serve' else 'trunkline jobs cron ls  -- and mend what the error names' end as remedy
  from trunkline.job_schedules() s
 where s.paused_at is null and (s.error is not null or s.next_at < clock_timestamp() - make_interval(secs => $1))
