-- Lifts a sequence of ids that begins anew, after install or (the unlogged one) after a crash, to the microseconds since
-- 1970: above whatever it gave out before, which was less than one id a microsecond. Does nothing when that is done.
-- The lock is held for the lifting only, not for the caller's transaction; a stranger who keeps it costs one second.
create or replace function trunkline._log_begin_e() returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_mine boolean;
begin
    for v_try in 1 .. 1000 loop
        exit when (select last_value from trunkline.log_id_e) > 1000000000;
        v_mine := pg_try_advisory_lock(1953656429, 1);
        if (v_mine or v_try = 1000) and (select last_value from trunkline.log_id_e) < 1000000000 then
            perform setval('trunkline.log_id_e', (extract(epoch from clock_timestamp()) * 1000000)::bigint);
        end if;
        if v_mine then
            perform pg_advisory_unlock(1953656429, 1);
        else
            perform pg_sleep(0.001);
        end if;
    end loop;
end $$;
