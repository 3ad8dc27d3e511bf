-- The minor version of the server: what is below the floor has bugs that lose data or let others in.
select 'warning' as level, null as object, 'the server is PostgreSQL ' || v.shown as finding,
       'bugs that lose data, or let others in, are mended in ' || f.shown as consequence,
       'install the newest minor version of the package, and restart the server' as remedy
  from (select current_setting('server_version_num')::int as number, split_part(current_setting('server_version'), ' ', 1) as shown) v
  join (values (150000, 150018, '15.18'), (160000, 160014, '16.14'), (170000, 170010, '17.10'), (180000, 180004, '18.4'))
       f(major, floor, shown) on v.number / 10000 = f.major / 10000
 where v.number < f.floor and $1 >= 0
