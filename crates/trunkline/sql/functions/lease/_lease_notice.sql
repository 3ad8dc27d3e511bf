-- Shortens a lease whose holder's process is gone, as far as anybody can see from here: another may hold it a quarter of a second
-- from now. A holder that was only cut off learns of that from its connection, and stops within this time.
-- Locks: the expiry row; not waited for.
create or replace function trunkline._lease_notice(name text, session int) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    perform from trunkline.lease_expiry e
      where e.name = _lease_notice.name and e.session = _lease_notice.session for update skip locked;
    if found then
        update trunkline.lease_expiry e
           set session = null, expires_at = least(e.expires_at, clock_timestamp() + interval '250 ms'),
               seen_at = greatest(e.seen_at, (select least(s.expires_at - interval '5 seconds', clock_timestamp())
                                                from trunkline.session s where s.id = _lease_notice.session))
         where e.name = _lease_notice.name;
    end if;
end $$;
