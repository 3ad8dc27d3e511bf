-- What plpgsql_check says about each of our functions; a trigger function is checked with each table it serves.
select p.oid::regprocedure, c.level, c.lineno, c.message, c.detail, c.hint, c.sqlstate
  from pg_proc p
  join pg_language l on l.oid = p.prolang and l.lanname = 'plpgsql'
  left join pg_trigger t on t.tgfoid = p.oid
 cross join lateral plpgsql_check_function_tb(p.oid, coalesce(t.tgrelid, 0), fatal_errors => false,
                                              performance_warnings => false, security_warnings => true) c
 where p.pronamespace in (select n.oid from pg_namespace n where n.nspname in ('trunkline', 'pgq', 'pgq_coop'))
   and p.proname !~ '^_t_[0-9]'                                                -- written for a table of somebody's
   and c.message not like 'composite OUT variable % is not single argument'    -- so it is meant
   and (p.proname, c.sqlstate) <> ('request_cancel', '2F005')                  -- it leaves its loop by RETURN only
   and c.message not like 'OUT variable % is maybe unmodified'                 -- it is what was executed that sets it
   and (p.proname, c.level) not in (('get_batch_cursor', 'security'), ('_grant_perms_from', 'security'),
                                    ('jsontriga', 'security'), ('logutriga', 'security'), ('sqltriga', 'security'))
 order by 1::text, c.lineno;
