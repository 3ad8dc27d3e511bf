-- The events of a stream that snapshot hi sees and lo does not, in the segments whose bits are set, with ids in
-- (after, upto], by id, at most so many. Reads the window and not the age of the oldest transaction: what was in progress
-- in lo is read over with what follows when it is near, and looked up one transaction at a time when it is not.
-- Locks only the segments that it is told to read.
create or replace function trunkline._stream_window(stream int, segments int, lo pg_snapshot, hi pg_snapshot,
    after bigint, upto bigint, most bigint) returns setof trunkline.stream_event
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set jit = off as $$
declare
    v_near boolean := trunkline._log_near(lo);
    v_sql  text;
begin
    if segments in (1, 2, 4) then
        v_sql := 'select * from trunkline.stream_event_%1$s where xid >= $1 and xid < $2'
            ' and pg_visible_in_snapshot(xid, $4) and not pg_visible_in_snapshot(xid, $3) and id > $5 and ($6 is null or id <= $6)';
        if not v_near then
            v_sql := v_sql || ' union all select * from trunkline.stream_event_%1$s where xid = any ($8)'
                ' and pg_visible_in_snapshot(xid, $4) and id > $5 and ($6 is null or id <= $6)';
        end if;
        return query execute format(v_sql || ' order by 2 limit $7', stream * 4 + segments / 2)
            using case when v_near then pg_snapshot_xmin(lo) else pg_snapshot_xmax(lo) end, pg_snapshot_xmax(hi), lo, hi,
                  after, upto, most, case when not v_near then array(select x from pg_snapshot_xip(lo) x) end;
    elsif segments > 0 then
        return query
        select e.*
          from unnest(array[1, 2, 4]) n
         cross join lateral trunkline._stream_window(stream, n, lo, hi, after, upto, most) e
         where segments & n <> 0
         order by e.id limit most;
    end if;
end $$;
