-- Renews what a process holds, in one statement, and notes what each holder says of its progress (null: nothing new): for each, by
-- its number, whether it is held still, null when another transaction has the row just now, and whether it shall resign.
-- As lease_renew. Locks: the expiry rows, which are not waited for.
create or replace function trunkline._lease_renew(session int, names text[], holders uuid[], progress text[])
returns table (n int, held boolean, resign boolean)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    perform trunkline._check_read_committed('leases');
    return query
    with mine as (
        select u.n::int, u.name, u.holder, u.progress from unnest(names, holders, _lease_renew.progress) with ordinality
                   u(name, holder, progress, n)),
    row_of as (
        select m.n, m.progress, e.name, e.resign_at, e.holder = m.holder and e.expires_at > clock_timestamp() as held
          from mine m join trunkline.lease_expiry e on e.name = m.name
         order by e.name for update of e skip locked),
    renewed as (
        update trunkline.lease_expiry e
           set expires_at = clock_timestamp() + e.ttl, seen_at = clock_timestamp(), session = _lease_renew.session,
               progress = coalesce(left(r.progress, 1000), e.progress),
               noted_at = case when r.progress is null then e.noted_at else clock_timestamp() end
          from row_of r where e.name = r.name and r.held)
    select m.n, case when r.name is not null then coalesce(r.held, false) end, r.resign_at is not null
      from mine m left join row_of r on r.n = m.n;
end $$;
