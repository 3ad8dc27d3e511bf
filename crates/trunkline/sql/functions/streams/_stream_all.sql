-- The numbers of all streams, for who does their duties one by one.
create or replace function trunkline._stream_all() returns int[]
language plpgsql stable security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return array(select s.id from trunkline.stream s order by s.id);
end $$;
