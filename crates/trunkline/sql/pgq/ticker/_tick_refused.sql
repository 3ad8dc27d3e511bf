-- Says that the last tick is of another time or another cluster. Never returns.
create or replace function pgq._tick_refused(last txid_snapshot, own bigint) returns void
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
begin
    raise exception 'Invalid PgQ state: old xmin=%, old xmax=%, cur txid=%', txid_snapshot_xmin(last), txid_snapshot_xmax(last), own
        using hint = 'after a restore, a clone or a failover run: trunkline schema repair';
end $$;
