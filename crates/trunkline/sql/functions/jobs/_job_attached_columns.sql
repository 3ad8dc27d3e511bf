-- What the columns of an attached table are called now: by their numbers, so that they can be renamed; by their names in a table
-- that was restored, where numbers differ. Errors: 42703 for one that is gone.
create or replace function trunkline._job_attached_columns(home oid, known oid, numbers int2[], names text[]) returns text[]
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_now  text[];
    v_gone text;
begin
    v_now := array(
        select (select a.attname::text from pg_attribute a
                 where a.attrelid = home and a.attnum > 0 and not a.attisdropped
                   and case when home = known then a.attnum = u.number else a.attname = u.name end)
          from unnest(numbers, names) with ordinality u(number, name, n) order by u.n);
    select u.name into v_gone from unnest(names, v_now) u(name, now) where u.name is not null and u.now is null limit 1;
    if v_gone is not null then
        raise exception 'the attached table % has no column "%" any more: detach it, and attach it again', home::regclass, v_gone
            using errcode = '42703';
    end if;
    return v_now;
end $$;
