-- Tables of ours with many dead rows.
select 'warning' as level, t.relname::text as object,
       format('%s has %s dead rows and %s live ones', t.relname, t.n_dead_tup, t.n_live_tup) as finding,
       'what reads it gets slower' as consequence,
       format('vacuum trunkline.%I;  -- and if that changes nothing, look who keeps the horizon', t.relname) as remedy
  from pg_catalog.pg_stat_all_tables t
 where t.schemaname = 'trunkline' and t.n_dead_tup > 10000 and t.n_dead_tup > t.n_live_tup and $1 >= 0
