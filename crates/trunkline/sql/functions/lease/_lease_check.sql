-- Refuses a call outside READ COMMITTED (25001), on a standby, which leads nothing (25006), and without a name (22004).
create or replace function trunkline._lease_check(name text, what text) returns void
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if name is null then
        raise exception 'lease name must not be null' using errcode = '22004';
    elsif pg_is_in_recovery() then
        raise exception '%: this server is a standby; leases are held on the primary', what using errcode = '25006';
    end if;
    perform trunkline._check_read_committed(what);
end $$;
