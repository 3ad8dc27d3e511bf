-- Makes this connection sleep on these doors, or on none of them; how many that changed. What it holds is looked up, since a rollback
-- undoes no advisory lock. One that a producer is testing just now stays as it is. Locks: the doors, shared, for the session.
create or replace function trunkline._topic_doze(doors int[], asleep boolean) returns int
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_held int[] := array(select d from unnest(doors) d
                           where (d::bigint & 4294967295)::oid in (
                                 select l.objid from pg_locks l where l.locktype = 'advisory' and l.classid = 1953656427
                                    and l.objsubid = 2 and l.pid = pg_backend_pid() and l.granted));
begin
    return (select count(*) from unnest(doors) d
             where asleep <> (d = any (v_held))
               and case when asleep then trunkline._door_hold(d) else trunkline._door_leave(d) end);
end $$;
