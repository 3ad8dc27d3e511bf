-- Refuses to go on outside READ COMMITTED (25001): an older snapshot could not see what others did meanwhile.
create or replace function trunkline._check_read_committed(what text) returns void
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception '% needs READ COMMITTED, this transaction is %', what,
            upper(current_setting('transaction_isolation')) using errcode = '25001';
    end if;
end $$;
