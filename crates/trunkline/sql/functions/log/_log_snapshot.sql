-- The snapshot to store as a cursor: as given, with this transaction's own xid listed as in progress.
-- A snapshot calls its own uncommitted xid visible; rows that the same transaction adds later would be passed over.
create or replace function trunkline._log_snapshot(taken pg_snapshot) returns pg_snapshot
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_own xid8 := pg_current_xact_id_if_assigned();
begin
    if v_own is null or v_own >= pg_snapshot_xmax(taken) then
        return taken;
    end if;
    return (least(pg_snapshot_xmin(taken), v_own) || ':' || pg_snapshot_xmax(taken) || ':' ||
        (select string_agg(x::text, ',' order by x)
           from (select x from pg_snapshot_xip(taken) x union select v_own) u))::pg_snapshot;
end $$;
