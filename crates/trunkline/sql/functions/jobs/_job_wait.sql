-- Notes that a session waits for the end of jobs: it is rung for each, from the next transaction that ends one on. Another
-- session's number only makes a false ring.
create or replace function trunkline._job_wait(ids bigint[], session int) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    insert into trunkline.job_wait (id, session) select u.id, _job_wait.session from unnest(ids) u(id) on conflict do nothing;
end $$;
