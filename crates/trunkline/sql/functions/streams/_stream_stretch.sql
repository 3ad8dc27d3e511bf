-- The events of a window with ids in (after, upto] in one stretch of a segment (see stream_mark), in any order.
create or replace function trunkline._stream_stretch(mark trunkline.stream_mark, lo pg_snapshot, hi pg_snapshot,
                                                     after bigint, upto bigint) returns setof trunkline.stream_event
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_indexscan = off set enable_bitmapscan = off set jit = off as $$
begin
    return query execute format(
        'select * from trunkline.stream_event_%s where ctid >= $1 and ctid <= $2'
        ' and pg_visible_in_snapshot(xid, $4) and not pg_visible_in_snapshot(xid, $3) and id > $5 and ($6 is null or id <= $6)',
        mark.stream * 4 + mark.segment) using mark.first_row, mark.last_row, lo, hi, after, upto;
end $$;
