-- Rings whose other segment is not emptied, and whose transactions hold it.
select 'warning' as level, 'ring ' || r.ring as object,
       format('segment %s of the ring %s (%s) is not emptied for %s', r.segment, r.ring, pg_size_pretty(r.bytes),
              date_trunc('second', clock_timestamp() - r.turned_at))
           || coalesce('; it is locked by ' || b.who, '') as finding,
       'the ring grows until that segment is free' as consequence,
       coalesce(b.remedy, 'trunkline serve  -- and let workers and responders run, lest it waits for what nobody takes') as remedy
  from trunkline.log_rings() r
  left join lateral (
      select string_agg(distinct 'session ' || l.pid, ', ') as who,
             string_agg(distinct format('select pg_terminate_backend(%s);', l.pid), ' ') as remedy
        from pg_catalog.pg_locks l
        join pg_catalog.pg_stat_activity a on a.pid = l.pid
       where l.relation = any (r.tables::oid[]) and a.datname = current_database() and l.granted
         and a.xact_start < clock_timestamp() - make_interval(secs => $1)) b on b.who is not null
 where not r.filled and r.bytes > 0
   and (b.who is not null or r.turned_at < clock_timestamp() - make_interval(secs => greatest($1, 60) * 3))
