-- Buries sessions whose process is gone: how many; whether there is more to do, so that it is to be called again at once; and
-- whether any other is to be watched, so that it is to be called again in a second. Safe to run anywhere, any number at once.
-- A call does some slices of the work and no more (_session_abandon): the caller's connection carries a whole process, and each
-- call is a transaction.
-- Those that are over and still connected, and hold up the server, lose their connection (_session_unblock).
-- One whose requests are being answered just now, in a transaction that stays open, is left for the next round after 50 ms.
-- A database crash forgets the sessions and keeps durable takes: for a minute after it, those are looked for as well,
-- after the five seconds in which a process that lives on may answer; and what was buried is known until then, so that it is none
-- of those.
create or replace function trunkline._session_reap(out buried int, out more boolean, out watch boolean)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set lock_timeout = '50ms' as $$
declare
    v_id    int;
    v_some  boolean;
    v_left  int := 2;                       -- slices
    v_since timestamptz;
    v_old   trunkline.buried;
begin
    perform trunkline._check_read_committed('maintain');
    perform trunkline._session_unblock();
    buried := 0;
    for v_id in select s.id from trunkline.session s loop
        exit when v_left = 0;
        if not trunkline._session_alive(v_id) then
            begin
                if trunkline._session_bury(v_id) then
                    buried := buried + 1;
                    v_left := v_left - 1;
                end if;
            exception when lock_not_available then
                null;
            end;
        end if;
    end loop;
    select min(s.opened_at) into v_since from trunkline.session s;
    if clock_timestamp() - v_since between interval '5 seconds' and interval '1 minute' then
        perform trunkline._request_orphans_d(), trunkline._job_orphans();
    end if;
    for v_old in select * from trunkline.buried b order by b.buried_at loop
        exit when v_left = 0;
        begin
            v_some := trunkline._session_abandon(v_old.session);
            if v_some then
                v_left := v_left - 1;
            elsif not v_some and v_old.buried_at < clock_timestamp() - interval '10 seconds'
                  and (coalesce(clock_timestamp() - v_since > interval '1 minute', true)
                       or v_old.buried_at < clock_timestamp() - interval '2 minutes') then
                delete from trunkline.buried b where b.session = v_old.session;
            end if;
        exception when lock_not_available then
            null;
        end;
    end loop;
    more := v_left < 2;
    watch := more or coalesce(clock_timestamp() - v_since < interval '1 minute', false) or exists (select from trunkline.buried)
             or exists (select from trunkline.session s where not s.rests and s.pid <> pg_backend_pid());
end $$;
