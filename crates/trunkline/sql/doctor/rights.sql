-- What PUBLIC may do in our schema, and what the roles of ours may not that they should.
select r.level, r.object, r.finding, r.consequence, r.remedy
  from (select 'critical' as level, p.oid::regprocedure::text as object,
               'everybody may execute ' || p.oid::regprocedure as finding,
               'any role that can connect can act on messages' as consequence,
               format('revoke all on routine %s from public;', p.oid::regprocedure) as remedy
          from pg_catalog.pg_proc p
         cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
         where p.pronamespace = to_regnamespace('trunkline') and a.grantee = 0
        union all
        select 'critical', c.oid::regclass::text,
               'everybody may ' || lower(string_agg(distinct a.privilege_type, ', ')) || ' ' || c.oid::regclass,
               'any role that can connect can read or forge messages', format('revoke all on %s from public;', c.oid::regclass)
          from pg_catalog.pg_class c
         cross join lateral (select c.relacl as acl union all select t.attacl from pg_catalog.pg_attribute t where t.attrelid = c.oid) g
         cross join lateral aclexplode(g.acl) a
         where c.relnamespace = to_regnamespace('trunkline') and a.grantee = 0
         group by c.oid
        union all
        select 'critical', 'schema trunkline', 'everybody may create objects in the schema trunkline',
               'a function put there can be called in place of ours', 'revoke create on schema trunkline from public;'
          from pg_catalog.pg_namespace n
         cross join lateral aclexplode(n.nspacl) a
         where n.nspname = 'trunkline' and a.grantee = 0 and a.privilege_type = 'CREATE'
        union all
        select 'warning', o.rolname, format('the role %I may not call %s of our functions', o.rolname, count(*)),
               'programs of that role fail',
               format('select trunkline.grant_to(%L, %L);', o.rolname, replace(o.rolname, 'trunkline_', ''))
          from pg_catalog.pg_roles o
          join pg_catalog.pg_proc p on p.pronamespace = to_regnamespace('trunkline')
         cross join lateral (select trunkline._kind_of_right(p.proname) as least) k
         where o.rolname in ('trunkline_reader', 'trunkline_writer', 'trunkline_admin')
           and array_position(array['reader', 'writer', 'admin'], k.least)
               <= array_position(array['reader', 'writer', 'admin'], replace(o.rolname, 'trunkline_', ''))
           and not has_function_privilege(o.oid, p.oid, 'execute')
         group by o.rolname) r
 where $1 >= 0
