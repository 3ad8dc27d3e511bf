-- The condition for the row x of a table whose primary key has the texts of the JSON array $1: by the operators of the key's own
-- index, whatever schema they are in. Errors: 42703 when the table has no primary key any more.
create or replace function trunkline._job_attached_where(home oid, key_columns text[]) returns text
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_where text;
begin
    select string_agg(format('x.%I operator(%I.%s) ($1 ->> %s)::%s', p.name, n.nspname, o.oprname, p.n - 1,
                             format_type(a.atttypid, a.atttypmod)), ' and ' order by p.n)
      into v_where
      from unnest(key_columns) with ordinality p(name, n)
      join pg_attribute a on a.attrelid = home and a.attname = p.name
      join pg_index i on i.indrelid = home and i.indisprimary
     cross join lateral unnest(i.indkey::int2[], i.indclass::oid[]) k(attnum, opclass)
      join pg_opclass c on c.oid = k.opclass
      join pg_amop m on m.amopfamily = c.opcfamily and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype
                    and m.amopstrategy = 3
      join pg_operator o on o.oid = m.amopopr
      join pg_namespace n on n.oid = o.oprnamespace
     where k.attnum = a.attnum
    having count(*) = cardinality(key_columns);
    if v_where is null then
        raise exception 'the attached table % has another primary key now: detach it, and attach it again', home::regclass
            using errcode = '42703';
    end if;
    return v_where;
end $$;
