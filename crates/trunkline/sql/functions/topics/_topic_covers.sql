-- Does a snapshot see all that another one sees? Null when there is no other one.
create or replace function trunkline._topic_covers(seen pg_snapshot, other pg_snapshot) returns boolean
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return pg_snapshot_xmin(seen) >= pg_snapshot_xmax(other)
        or pg_snapshot_xmax(seen) >= pg_snapshot_xmax(other)
           and not exists (select from pg_snapshot_xip(seen) x where pg_visible_in_snapshot(x, other));
end $$;
