-- Notes as buried the sessions that hold requests and no longer exist at all, after a database crash: the reaper then ends
-- what they were handling, see _session_abandon. Reads all takes of the ring.
create or replace function trunkline._request_orphans_e() returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    insert into trunkline.buried (session)
    select distinct t.session
      from (select * from trunkline.take_e0 union all select * from trunkline.take_e1) t
     where t.expires_at > clock_timestamp()
       and not exists (select from trunkline.session s where s.id = t.session)
        on conflict do nothing;
end $$;
