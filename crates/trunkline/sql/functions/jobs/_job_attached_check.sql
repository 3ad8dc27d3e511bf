-- Refuses a table that cannot be attached, or not by the acting role, and gives what of it counts: its owner, and columns as
-- job_attached has them. Errors: 22004, 22023 for another kind of table, one without a primary key, and columns that are not there
-- or of another type; 42501 for who does not own it, and where we may not act as its owner; 42710 when it is attached.
create or replace function trunkline._job_attached_check(relation oid, columns text[], out owner text, out numbers int2[],
                                                         out names text[])
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v      pg_class;
    v_gone text;
    v_type pg_type;
begin
    select * into v from pg_class c where c.oid = _job_attached_check.relation;
    if v.oid is null or columns[1] is null then
        raise exception '% must not be null', case when v.oid is null then 'table' else 'status column' end using errcode = '22004';
    elsif not pg_has_role(trunkline._role()::name, v.relowner, 'member') then
        raise exception 'must be owner of table %', v.oid::regclass using errcode = '42501';
    elsif v.relispartition then
        raise exception 'table % is a partition: attach its root', v.oid::regclass using errcode = '22023';
    elsif v.relkind not in ('r', 'p') or v.relpersistence = 't'
          or v.relnamespace in ('pg_catalog'::regnamespace, 'trunkline'::regnamespace) then
        raise exception 'only a table of the application can be attached, and no temporary one: %', v.oid::regclass
            using errcode = '22023';
    elsif exists (select from pg_trigger t where t.tgrelid = v.oid and t.tgname = 'trunkline_job_insert') then
        raise exception 'table % is attached already: detach it first', v.oid::regclass using errcode = '42710';
    end if;
    owner := pg_get_userbyid(v.relowner);
    if not pg_has_role(current_user, v.relowner, 'member') or not pg_has_role(current_user, v.relowner, 'usage') then
        raise exception 'the owner of the schema trunkline, "%", must be able to write to table %', current_user, v.oid::regclass
            using errcode = '42501', hint = format('grant %I to %I', owner, current_user);
    end if;
    names := columns || trunkline._stream_key_columns(v.oid);
    if cardinality(names) = 3 then
        raise exception 'table % has no primary key, so the status could not be written back', v.oid::regclass using errcode = '22023';
    end if;
    numbers := array(select (select a.attnum from pg_attribute a where a.attrelid = v.oid and a.attname = u.name
                                and a.attnum > 0 and not a.attisdropped)
                       from unnest(names) with ordinality u(name, n) order by u.n);
    select u.name into v_gone from unnest(names, numbers) u(name, number) where u.name is not null and u.number is null limit 1;
    if v_gone is not null then
        raise exception 'table % has no column "%"', v.oid::regclass, left(v_gone, 100) using errcode = '22023';
    end if;
    select t.* into v_type from pg_attribute a join pg_type t on t.oid = a.atttypid where a.attrelid = v.oid and a.attnum = numbers[1];
    while v_type.typbasetype <> 0 loop
        select t.* into v_type from pg_type t where t.oid = v_type.typbasetype;
    end loop;
    if v_type.typcategory <> 'S' and not coalesce((select array_agg(e.enumlabel::text) from pg_enum e where e.enumtypid = v_type.oid)
                                                  @> array['new', 'running', 'success', 'error'], false) then
        raise exception 'column "%" must be text, or an enum with the words new, running, success and error', names[1]
            using errcode = '22023';
    end if;
end $$;
