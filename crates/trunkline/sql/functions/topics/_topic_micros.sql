-- A time as the microseconds since 1970, as a position has it.
create or replace function trunkline._topic_micros(at timestamptz) returns bigint
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return (extract(epoch from at) * 1000000)::bigint;
end $$;
