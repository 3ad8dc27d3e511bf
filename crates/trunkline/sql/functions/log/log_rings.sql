-- The rings of requests and jobs: one row for each segment, with its size, whether writers fill it, and since when they do.
-- A segment that is neither filled nor empty is still needed, or locked by somebody.
create or replace function trunkline.log_rings()
returns table (ring text, segment int, filled boolean, turned_at timestamptz, bytes bigint, tables regclass[])
language plpgsql stable security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select r.name, n, r.current = n, r.turned_at,
           sum(pg_relation_size(c.oid) + coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0))::bigint,
           array_agg(c.oid::regclass order by c.relname)
      from trunkline.ring r
     cross join generate_series(0, 1) n
      join pg_class c
        on c.relnamespace = 'trunkline'::regnamespace and c.relkind = 'r'
       and c.relname ~ case when r.name like 'job%' then format('^job(_slice|_done|_end)?_%s%s$', right(r.name, 1), n)
                            else format('^(request|take|ending)_%s%s$', right(r.name, 1), n) end
     group by r.name, n, r.current, r.turned_at
     order by r.name, n;
end $$;
