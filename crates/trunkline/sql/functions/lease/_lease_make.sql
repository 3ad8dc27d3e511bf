-- Makes a lease's rows where they are missing: fence 0, held by nobody. Errors: those of _check_name; names that begin with
-- trunkline/ are for our own words, of 200 bytes at most. Waits for who makes the same one.
create or replace function trunkline._lease_make(name text, own boolean) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    if not (own and _lease_make.name ~ '^trunkline/' and octet_length(_lease_make.name) <= 200) then
        perform trunkline._check_name('lease', _lease_make.name);
    end if;
    insert into trunkline.lease (name, fence, epoch) values (_lease_make.name, 0, trunkline._epoch()) on conflict do nothing;
    insert into trunkline.lease_expiry (name, fence, since, ttl, expires_at, seen_at)
    values (_lease_make.name, 0, clock_timestamp(), '0', '-infinity', clock_timestamp()) on conflict do nothing;
end $$;
