-- Transactions older than the mark that are still in progress: they may have tested the door before it was held.
-- First call: waiting is null. Then pass what came back, until it comes back empty; look once more AFTER that, then sleep.
-- With writers_only, those that hold no write lock on a ring are dropped: they have inserted nothing yet, and will find
-- the door held when they do. It reads pg_locks, so ask for it only when the plain answer stays non-empty.
create or replace function trunkline._door_unsettled(mark xid8, waiting xid8[], writers_only boolean) returns xid8[]
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_left xid8[];
begin
    v_left := array(select x from pg_snapshot_xip(pg_current_snapshot()) x
                     where x < mark and (waiting is null or x = any (waiting)));
    if not writers_only or v_left = '{}' then
        return v_left;
    end if;
    return array(
        select x from unnest(v_left) x
         where exists (select from pg_locks t
                         join pg_locks r on r.virtualtransaction = t.virtualtransaction
                         join pg_class c on c.oid = r.relation
                         join pg_namespace n on n.oid = c.relnamespace
                        where t.locktype = 'transactionid' and t.granted
                          and t.transactionid = (x::text::numeric % 4294967296)::text::xid
                          and r.locktype = 'relation'
                          and r.database = (select oid from pg_database where datname = current_database())
                          and r.mode = 'RowExclusiveLock' and n.nspname = 'trunkline'));
end $$;
