-- Notes as buried the sessions that hold requests and no longer exist at all, after a database crash: the reaper then ends
-- what they were handling, see _session_abandon. Asks the indexes for one session after the other, since each has many takes.
create or replace function trunkline._request_orphans_e() returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    insert into trunkline.buried (session)
    with recursive e0(session) as (
        select min(t.session) from trunkline.take_e0 t
        union all
        select (select min(t.session) from trunkline.take_e0 t where t.session > k.session) from e0 k where k.session is not null
    ), e1(session) as (
        select min(t.session) from trunkline.take_e1 t
        union all
        select (select min(t.session) from trunkline.take_e1 t where t.session > k.session) from e1 k where k.session is not null
    )
    select o.session from (select e0.session from e0 union select e1.session from e1) o
     where o.session is not null and not exists (select from trunkline.session s where s.id = o.session)
       and (exists (select from trunkline.take_e0 t where t.session = o.session and t.expires_at > clock_timestamp())
            or exists (select from trunkline.take_e1 t where t.session = o.session and t.expires_at > clock_timestamp()))
        on conflict do nothing;
end $$;
