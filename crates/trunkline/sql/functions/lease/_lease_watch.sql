-- Notes that a session watches leases, and is rung when one changes hands; how each is now: the fence, and who holds it since when,
-- or null. One that was never held has the fence 0.
create or replace function trunkline._lease_watch(session int, names text[])
returns table (name text, fence bigint, held_by text, since timestamptz)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    insert into trunkline.lease_watch (name, session)
    select u.name, _lease_watch.session from unnest(names) u(name)
     where not exists (select from trunkline.lease_watch w where w.name = u.name and w.session = _lease_watch.session)
        on conflict do nothing;
    return query
    select u.name, coalesce(e.fence, 0), case when h.held then e.held_by end, case when h.held then e.since end
      from unnest(names) u(name)
      left join trunkline.lease_expiry e on e.name = u.name
     cross join lateral (select trunkline._lease_held(e) as held) h;
end $$;
