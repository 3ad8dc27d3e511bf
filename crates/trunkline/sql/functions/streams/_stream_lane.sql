-- The lane of an event among so many: always the same for a key, on every server and version; without a key any.
create or replace function trunkline._stream_lane(key text, id bigint, lanes int) returns int
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_hash bytea := sha256(convert_to(coalesce(key, id::text), 'UTF8'));
begin
    return (get_byte(v_hash, 0) * 256 + get_byte(v_hash, 1)) % lanes;
end $$;
