-- Makes this connection sleep on these doors, or on none of them; how many that changed. What it holds is looked up, since a rollback
-- undoes no advisory lock. A producer tests a door for microseconds, and is waited for; where a stranger keeps its key, that is for
-- the caller's lock_timeout, and only his polls find anything. Locks: the doors, shared, for the session.
create or replace function trunkline._topic_doze(doors int[], asleep boolean) returns int
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_held  int[] := trunkline._topic_dozing();
    v_count int := 0;
    v_door  int;
begin
    foreach v_door in array doors loop
        continue when asleep = (v_door = any (v_held));
        begin
            if asleep then
                perform pg_advisory_lock_shared(1953656427, v_door);
            else
                perform trunkline._door_leave(v_door);
            end if;
            v_count := v_count + 1;
        exception when lock_not_available then
            null;
        end;
    end loop;
    return v_count;
end $$;
