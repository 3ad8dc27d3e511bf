-- Draws a fresh transaction id; whoever tested a door before it was held has an older one. Commit before the next step.
create or replace function trunkline._door_mark() returns xid8
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return pg_current_xact_id();
end $$;
