-- What a stream has between two snapshots: how many events, of how many bytes, in which segments (as bits), since when; and of
-- a large window where they are (_stream_mark). Of a small one the count is all, and it ends where a window is large:
-- each event is read once, or little more. All segments are looked at, in a subtransaction that is rolled back: nothing
-- stays locked that stands in the ring's way.
create or replace function trunkline._stream_measure(stream int, lo pg_snapshot, hi pg_snapshot,
    out events bigint, out bytes bigint, out segments int, out since timestamptz, out marks trunkline.stream_mark[])
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
    v_large constant int := 20000;
    v_near  boolean := trunkline._log_near(lo);
    v_table text;
    v_sql   text;
    v_count bigint;
    v_bytes bigint;
    v_since timestamptz;
begin
    events := 0; bytes := 0; segments := 0;
    for v_n in 0..2 loop
        v_table := format('trunkline.stream_event_%s', stream * 4 + v_n);
        continue when pg_relation_size(v_table::regclass) = 0;
        v_sql := format('select payload, at from %s where xid >= $1 and xid < $2'
                        ' and pg_visible_in_snapshot(xid, $4) and not pg_visible_in_snapshot(xid, $3)', v_table);
        if not v_near then
            v_sql := format('%s union all select payload, at from %s where xid = any ($5) and pg_visible_in_snapshot(xid, $4)',
                            v_sql, v_table);
        end if;
        execute format('select count(*), sum(octet_length(payload)), min(at) from (%s limit $6) e', v_sql)
            into v_count, v_bytes, v_since
            using case when v_near then pg_snapshot_xmin(lo) else pg_snapshot_xmax(lo) end, pg_snapshot_xmax(hi), lo, hi,
                 case when not v_near then array(select x from pg_snapshot_xip(lo) x) end, v_large + 1 - events;
        if v_count > 0 then
            events := events + v_count; bytes := bytes + v_bytes; segments := segments | (1 << v_n);
            since := least(since, v_since);
        end if;
        exit when events > v_large;
    end loop;
    if events > v_large then
        marks := trunkline._stream_mark(stream, lo, hi);
        select sum(m.events), sum(m.bytes), bit_or(1 << m.segment) into events, bytes, segments from unnest(marks) m;
    end if;
    raise exception using errcode = 'raise_exception';
exception when raise_exception then
    null;
end $$;
