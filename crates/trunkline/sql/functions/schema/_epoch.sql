-- The number of the epoch in force; positions and fences of another epoch mean nothing in this one.
create or replace function trunkline._epoch() returns int
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return (select max(epoch) from trunkline.epoch);
end $$;
