-- Refuses what must see the newest state where a transaction keeps an older one in view: error 25001.
create or replace function pgq._check_read_committed(what text) returns void
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception '% works at READ COMMITTED only', what using errcode = '25001';
    end if;
end $$;
