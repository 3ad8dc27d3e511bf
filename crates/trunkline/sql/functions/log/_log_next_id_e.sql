-- The first ids of an unlogged sequence that begins anew, after install or a crash: lifts it to the microseconds since
-- 1970, above whatever it gave out before (that was less than one id a microsecond), and returns the next one.
-- The lock is held for the lifting only, not for the caller's transaction; a stranger who keeps it costs one second.
create or replace function trunkline._log_next_id_e() returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_mine boolean;
begin
    for v_try in 1 .. 1000 loop
        v_mine := pg_try_advisory_lock(1953656429, 1);
        if nextval('trunkline.log_id_e') < 1000000000 and (v_mine or v_try = 1000) then
            perform setval('trunkline.log_id_e', (extract(epoch from clock_timestamp()) * 1000000)::bigint);
        end if;
        if v_mine then
            perform pg_advisory_unlock(1953656429, 1);
        end if;
        exit when nextval('trunkline.log_id_e') > 1000000000;
        perform pg_sleep(0.001);
    end loop;
    return nextval('trunkline.log_id_e');
end $$;
