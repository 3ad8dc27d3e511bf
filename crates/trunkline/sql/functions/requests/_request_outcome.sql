-- The word for a status, the same in SQL, Rust, CLI and docs; null while a request is open.
create or replace function trunkline._request_outcome(status int) returns text
language sql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
    select case status when 0 then 'ok' when 1 then 'remote error' when 2 then 'unsupported' when 3 then 'cancelled'
        when 4 then 'timed out' when 5 then 'lost' when 7 then 'taken' when 8 then 'ok' end
$$;
