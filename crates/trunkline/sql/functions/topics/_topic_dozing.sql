-- The doors of topics that this connection sleeps on.
create or replace function trunkline._topic_dozing() returns int[]
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return array(select (l.objid::bigint - 4294967296)::int from pg_locks l
                  where l.locktype = 'advisory' and l.classid = 1953656427 and l.objsubid = 2 and l.pid = pg_backend_pid() and l.granted
                    and l.objid::bigint between 2147483648 and 2147483712);
end $$;
