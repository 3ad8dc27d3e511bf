-- The expressions that make a job of a row x of an attached table: primary key, content, payload and key. columns: what they
-- are called now, see job_attached.
create or replace function trunkline._job_attached_row(home oid, columns text[]) returns text
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_type oid := (select coalesce(nullif(t.typbasetype, 0), t.oid) from pg_attribute a join pg_type t on t.oid = a.atttypid
                    where a.attrelid = home and a.attname = columns[2]);
begin
    return concat_ws(', ',
        format('jsonb_build_array(%s)', (select string_agg(format('format(''%%s'', x.%I)', p.name), ', ' order by p.n)
                                           from unnest(columns[4:]) with ordinality p(name, n))),
        case when v_type is null then '2, convert_to(to_jsonb(x)::text, ''UTF8'')'
             when v_type in ('json'::regtype, 'jsonb'::regtype)
                 then format('2, convert_to(coalesce(x.%I::text, ''null''), ''UTF8'')', columns[2])
             when v_type = 'bytea'::regtype then format('0, coalesce(x.%I::bytea, '''')', columns[2])
             else format('1, convert_to(format(''%%s'', x.%I), ''UTF8'')', columns[2]) end,
        case when columns[3] is null then 'null' else format('nullif(format(''%%s'', x.%I), '''')', columns[3]) end);
end $$;
