-- Ends connections of ours whose process reads no more: frozen, or cut off. The backend waits to write what it was notified of, which
-- no timeout of PostgreSQL's ends; meanwhile it holds its keys, the horizon, and all of the server's queue of NOTIFY since. How many.
-- Ours hold the presence key of a session; that is over, or for five seconds nothing was read of what it was notified. Nobody else's
-- is touched: the doctor tells of those. Looks only while the queue holds something.
-- Ends none of a role that the schema's owner may not signal. Locks: none.
create or replace function trunkline._session_unblock() returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_pid   int;
    v_ended int := 0;
begin
    if pg_notification_queue_usage() = 0 then
        return 0;
    end if;
    for v_pid in
        select l.pid
          from pg_locks l
          join pg_stat_activity a on a.pid = l.pid and a.wait_event = 'ClientWrite'
         where l.locktype = 'advisory' and l.classid = 1953656428 and l.objsubid = 2 and l.mode = 'ExclusiveLock' and l.granted
           and l.database = (select d.oid from pg_database d where d.datname = current_database())
           and (a.state = 'idle' and a.xact_start < clock_timestamp() - interval '5 seconds'
                or not exists (select from trunkline.session s where s.id = l.objid::bigint and s.expires_at > clock_timestamp()))
    loop
        begin
            v_ended := v_ended + pg_terminate_backend(v_pid)::int;
        exception when insufficient_privilege then
            null;
        end;
    end loop;
    return v_ended;
end $$;
