-- Is a lease held just now? Null when it has not expired, and the process that holds it is gone: see _lease_take.
create or replace function trunkline._lease_held(lease trunkline.lease_expiry) returns boolean
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return case when lease.holder is null or lease.expires_at <= clock_timestamp() then false
                when lease.session is null or trunkline._session_alive(lease.session) then true end;
end $$;
