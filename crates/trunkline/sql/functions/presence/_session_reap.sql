-- Buries every session whose process is gone: the number buried. Safe to run anywhere, any number at once.
-- One whose requests are being answered just now, in a transaction that stays open, is left for the next round after 50 ms:
-- the caller's connection carries a whole process.
-- A database crash forgets the sessions and keeps durable takes: for a minute after it, those are looked for as well,
-- after the five seconds in which a process that lives on may answer.
create or replace function trunkline._session_reap() returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set lock_timeout = '50ms' as $$
declare
    v_id    int;
    v_dead  int := 0;
    v_since timestamptz;
    v_old   trunkline.buried;
begin
    perform trunkline._check_read_committed('maintain');
    for v_id in select s.id from trunkline.session s loop
        if not trunkline._session_alive(v_id) then
            begin
                perform trunkline._session_bury(v_id);
                v_dead := v_dead + 1;
            exception when lock_not_available then
                null;
            end;
        end if;
    end loop;
    for v_old in select * from trunkline.buried loop
        begin
            if exists (select from trunkline.take_e0 t where t.session = v_old.session and t.id > v_old.id_e * 4 + 3)
               or exists (select from trunkline.take_e1 t where t.session = v_old.session and t.id > v_old.id_e * 4 + 3)
               or exists (select from trunkline.take_d0 t where t.session = v_old.session and t.id > v_old.id_d * 4 + 3)
               or exists (select from trunkline.take_d1 t where t.session = v_old.session and t.id > v_old.id_d * 4 + 3)
            then
                v_dead := v_dead + trunkline._request_abandon_e0(v_old.session)
                                 + trunkline._request_abandon_e1(v_old.session)
                                 + trunkline._request_abandon_d0(v_old.session)
                                 + trunkline._request_abandon_d1(v_old.session);
            end if;
        exception when lock_not_available then
            null;
        end;
    end loop;
    delete from trunkline.buried b where b.buried_at < clock_timestamp() - interval '10 seconds';
    select min(s.opened_at) into v_since from trunkline.session s;
    if clock_timestamp() - v_since between interval '5 seconds' and interval '1 minute' then
        begin
            v_dead := v_dead + trunkline._request_orphans_d();
        exception when lock_not_available then
            null;
        end;
    end if;
    return v_dead;
end $$;
