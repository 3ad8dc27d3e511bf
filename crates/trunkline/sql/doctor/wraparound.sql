-- How near the database is to the end of its transaction numbers, where it would take no writes any more.
select case when f.age > 1500000000 then 'critical' else 'warning' end as level, f.what as object,
       format('the oldest %s number of this database is %s old', f.what, f.age) as finding,
       'at two thousand million the server takes no more writes' as consequence,
       'vacuum freeze, as the owner of the database; and look who keeps the horizon' as remedy
  from (select 'transaction' as what, age(d.datfrozenxid) as age from pg_catalog.pg_database d where d.datname = current_database()
        union all
        select 'multixact', mxid_age(d.datminmxid) from pg_catalog.pg_database d where d.datname = current_database()) f
 where f.age > 500000000 and $1 >= 0
