-- The first of some snapshots, in order, that sees an xid: its number, and one more than there are when none does. ends: the
-- xmax of each, by which most are passed over.
create or replace function trunkline._stream_rank(xid xid8, seen pg_snapshot[], ends xid8[]) returns int
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    for v_n in width_bucket(xid, ends) + 1 .. cardinality(ends) loop
        if pg_visible_in_snapshot(xid, seen[v_n]) then
            return v_n;
        end if;
    end loop;
    return cardinality(ends) + 1;
end $$;
