-- The operator by which values of a type are equal, with its schema: that of its default btree or hash class; null where it has none.
-- Arrays are compared as texts.
create or replace function pgq._equality(type oid) returns text
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_kind text := (select case when t.typlen = -1 and t.typelem <> 0 and t.typsubscript::text like '%array_subscript_handler' then 'array'
                                else t.typtype::text end from pg_type t where t.oid = type);
    v_type oid := case v_kind when 'e' then 'anyenum'::regtype when 'r' then 'anyrange'::regtype when 'm' then 'anymultirange'::regtype
                              when 'c' then 'record'::regtype else type end;
begin
    if v_kind = 'array' then
        return null;
    end if;
    return (
        select format('%I.%s', n.nspname, o.oprname)
          from (select v_type as of, 0 as far
                union all
                select castcontext_type.casttarget, 1 from pg_cast castcontext_type
                 where castsource = v_type and castmethod = 'b' and castcontext = 'i') c
          join pg_opclass k on k.opcintype = c.of and k.opcdefault
          join pg_am m on m.oid = k.opcmethod and m.amname in ('btree', 'hash')
          join pg_amop p on p.amopfamily = k.opcfamily and p.amoplefttype = k.opcintype and p.amoprighttype = k.opcintype
                        and p.amopstrategy = case m.amname when 'btree' then 3 else 1 end
          join pg_operator o on o.oid = p.amopopr
          join pg_namespace n on n.oid = o.oprnamespace
          left join pg_type t on t.oid = c.of
         order by c.far, t.typispreferred desc, m.amname limit 1);
end $$;
