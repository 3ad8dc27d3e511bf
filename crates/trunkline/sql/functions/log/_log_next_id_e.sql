-- The first ids of an unlogged sequence that begins anew, after install or a crash: lifts it to the microseconds since
-- 1970, above whatever it gave out before (that was less than one id a microsecond), and returns the next one.
create or replace function trunkline._log_next_id_e() returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    perform pg_advisory_xact_lock(1953656429, 1);
    if nextval('trunkline.log_id_e') < 1000000000 then
        perform setval('trunkline.log_id_e', (extract(epoch from clock_timestamp()) * 1000000)::bigint);
    end if;
    return nextval('trunkline.log_id_e');
end $$;
