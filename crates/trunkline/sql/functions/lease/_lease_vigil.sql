-- Waits until a process that waits for leases, as the first or the second in their queues, is to look at one: its holder's process
-- is gone, or it is free and this one's turn: true. False when `most` is over; null when it is in no queue's front.
-- Looks five times a second, and more seldom when that takes long; between the looks it holds no lock of a table, so that nobody
-- waits for it. Its snapshot holds back what VACUUM may remove, so `most` is short.
create or replace function trunkline._lease_vigil(session int, most interval) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_end  timestamptz := clock_timestamp() + most;
    v_at   timestamptz;
    v_ripe boolean;
begin
    perform trunkline._check_read_committed('leases');
    loop
        v_at := clock_timestamp();
        begin
            select bool_or(h.held is null or not h.held
                           and clock_timestamp() >= greatest(e.expires_at, e.seen_at) + a.ahead * interval '1 second')
              into v_ripe
              from trunkline.lease_waiter w
              join trunkline.lease_expiry e on e.name = w.name
             cross join lateral (select trunkline._lease_ahead(w.name, w.seq) as ahead) a
             cross join lateral (select trunkline._lease_held(e) as held) h
             where w.session = _lease_vigil.session and a.ahead < 2 and trunkline._session_alive(w.session);
            raise exception using errcode = '55P03';       -- undone, and so the tables' locks
        exception when lock_not_available then
            null;
        end;
        exit when v_ripe is distinct from false or clock_timestamp() > v_end;
        perform pg_sleep(0.2 + 10 * extract(epoch from clock_timestamp() - v_at));
    end loop;
    return v_ripe;
end $$;
