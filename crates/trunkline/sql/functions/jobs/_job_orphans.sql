-- Notes as buried the sessions that work on jobs and no longer exist at all, after a database crash: the reaper then hands
-- their jobs on, see _session_abandon. Only what is older than ten seconds, since processes that live on come back by then.
-- Reads all slices of the durable ring.
create or replace function trunkline._job_orphans() returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    insert into trunkline.buried (session)
    select distinct o.session
      from (select s.session from trunkline.job_slice_d0 s where s.taken_at < clock_timestamp() - interval '10 seconds'
            union select s.session from trunkline.job_slice_d1 s where s.taken_at < clock_timestamp() - interval '10 seconds'
            union select h.session from trunkline.job_held h
                   where h.state = 1 and h.begun_at < clock_timestamp() - interval '10 seconds') o
     where o.session <> 0 and not exists (select from trunkline.session s where s.id = o.session)
        on conflict do nothing;
end $$;
