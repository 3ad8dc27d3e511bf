-- Notes as buried the sessions that work on jobs and no longer exist at all, after a database crash: the reaper then hands
-- their jobs on, see _session_abandon. Only what is older than ten seconds, since processes that live on come back by then.
-- Asks the indexes for one session after the other, since each has many slices.
create or replace function trunkline._job_orphans() returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    insert into trunkline.buried (session)
    with recursive d0(session) as (
        select min(s.session) from trunkline.job_slice_d0 s
        union all
        select (select min(s.session) from trunkline.job_slice_d0 s where s.session > k.session) from d0 k where k.session is not null
    ), d1(session) as (
        select min(s.session) from trunkline.job_slice_d1 s
        union all
        select (select min(s.session) from trunkline.job_slice_d1 s where s.session > k.session) from d1 k where k.session is not null
    ), held(session) as (
        select min(h.session) from trunkline.job_held h where h.state = 1
        union all
        select (select min(h.session) from trunkline.job_held h where h.state = 1 and h.session > k.session) from held k
         where k.session is not null
    )
    select o.session from (select d0.session from d0 union select d1.session from d1 union select held.session from held) o
     where o.session <> 0 and not exists (select from trunkline.session s where s.id = o.session)
       and (exists (select from trunkline.job_slice_d0 s
                     where s.session = o.session and s.taken_at < clock_timestamp() - interval '10 seconds')
            or exists (select from trunkline.job_slice_d1 s
                        where s.session = o.session and s.taken_at < clock_timestamp() - interval '10 seconds')
            or exists (select from trunkline.job_held h
                        where h.session = o.session and h.state = 1 and h.begun_at < clock_timestamp() - interval '10 seconds'))
        on conflict do nothing;
end $$;
