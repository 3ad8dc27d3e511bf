-- True when this connection holds the key of a lane's responders.
create or replace function trunkline._request_serving(lane int) returns boolean
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return exists (select from pg_locks l
                    where l.locktype = 'advisory' and l.classid = 1953656432 and l.objid = lane::oid and l.objsubid = 2
                      and l.database = (select d.oid from pg_database d where d.datname = current_database())
                      and l.pid = pg_backend_pid() and l.mode = 'ShareLock' and l.granted);
end $$;
