-- Rings the first one who waits for a lease, and nobody else who does, so that it looks: the lease is free, or it is the first
-- only now; and whoever watches. With the commit.
create or replace function trunkline._lease_tell(name text) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_session int;
begin
    for v_session in select w.session from trunkline.lease_waiter w where w.name = _lease_tell.name order by w.seq loop
        if trunkline._session_alive(v_session) then
            perform trunkline._door_ring(-130 - v_session % 2000000000);
            exit;
        end if;
    end loop;
    perform trunkline._door_ring(-130 - w.session % 2000000000) from trunkline.lease_watch w where w.name = _lease_tell.name;
end $$;
