-- Makes this connection sleep on these doors, or on none of them; how many that changed. What it holds is looked up, since a rollback
-- undoes no advisory lock. A door that a producer is testing just now is free again within microseconds: it is tried for some
-- milliseconds, and where a stranger keeps its key, only the caller's polls find anything. Locks: the doors, shared, for the session.
create or replace function trunkline._topic_doze(doors int[], asleep boolean) returns int
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_held  int[] := trunkline._topic_dozing();
    v_count int := 0;
    v_door  int;
begin
    foreach v_door in array doors loop
        continue when asleep = (v_door = any (v_held));
        for v_try in 1 .. 20 loop
            if (case when asleep then trunkline._door_hold(v_door) else trunkline._door_leave(v_door) end) then
                v_count := v_count + 1;
                exit;
            end if;
            perform pg_sleep(0.0002);
        end loop;
    end loop;
    return v_count;
end $$;
