-- Buries every session whose process is gone: the number buried. Safe to run anywhere, any number at once.
create or replace function trunkline._session_reap() returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_id   int;
    v_dead int := 0;
begin
    perform trunkline._check_read_committed('maintain');
    for v_id in select s.id from trunkline.session s loop
        if not trunkline._session_alive(v_id) then
            perform trunkline._session_bury(v_id);
            v_dead := v_dead + 1;
        end if;
    end loop;
    return v_dead;
end $$;
