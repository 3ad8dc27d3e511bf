-- Leases, by name: which fence is in force, who holds it since when and until when, or nobody (held_by null); when the newest holder
-- gave its last sign of life, whether it was asked to resign, what it noted of its progress, and how many wait.
create or replace function trunkline.lease_list()
returns table (name text, fence bigint, holder uuid, held_by text, since timestamptz, expires_at timestamptz, seen_at timestamptz,
               resign_asked boolean, progress text, waiting int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select e.name, e.fence, h.holder, case when h.holder is not null then e.held_by end,
           case when h.holder is not null then e.since end, case when h.holder is not null then e.expires_at end,
           case when e.fence > 0 then e.seen_at end, e.resign_at is not null, e.progress,
           (select count(*)::int from trunkline.lease_waiter w where w.name = e.name)
      from trunkline.lease_expiry e
     cross join lateral (select case when trunkline._lease_held(e) then e.holder end as holder) h
     order by e.name;
end $$;
