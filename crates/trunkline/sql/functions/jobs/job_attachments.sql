-- The attached tables, by their names now, with their columns; how many statuses are still to be written, and what went wrong with
-- the last of them that failed. table_name is null for one that was dropped, or lost its trigger.
create or replace function trunkline.job_attachments()
returns table (table_name text, queue text, kind text, status_column text, payload_column text, key_column text,
               primary_key text[], priority int, max_attempts int, owner text, attached_at timestamptz, unwritten bigint, error text)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select trunkline._job_attached_name(h.home, false), q.name, a.kind, n.now[1], n.now[2], n.now[3], n.now[4:], a.priority,
           a.max_attempts, a.owner, a.attached_at,
           (select count(*) from trunkline.job_unwritten u where u.origin = a.id),
           (select u.error from trunkline.job_unwritten u where u.origin = a.id and u.error is not null order by u.id desc limit 1)
      from trunkline.job_attached a join trunkline.job_queue q on q.id = a.queue
     cross join lateral (select trunkline._job_attached_home(a.id, a.relation) as home) h
     cross join lateral (
          select array_agg(coalesce((select c.attname::text from pg_attribute c
                                      where c.attrelid = h.home and h.home = a.relation and c.attnum = u.number
                                        and not c.attisdropped), u.name) order by u.n) as now
            from unnest(a.numbers, a.names) with ordinality u(number, name, n)) n
     order by a.id;
end $$;
