-- Gives one table the rights that another has: 1.
create or replace function pgq._grant_perms_from(src_schema text, src_table text, dst_schema text, dst_table text) returns integer
language plpgsql volatile strict set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_right record;
begin
    for v_right in
        select a.privilege_type as name, a.is_grantable as passed_on,
               case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee) end as role
          from pg_class c join pg_namespace n on n.oid = c.relnamespace
         cross join lateral aclexplode(c.relacl) a
         where n.nspname = src_schema and c.relname = src_table and a.grantee <> c.relowner
         order by a.grantee, a.privilege_type
    loop
        execute format('grant %s on %I.%I to %I%s', v_right.name, dst_schema, dst_table, v_right.role,
                       case when v_right.passed_on then ' with grant option' else '' end);
    end loop;
    return 1;
end $$;
