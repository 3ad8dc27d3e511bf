-- Where the events of a large window are, as marks without a tick (see stream_mark), so that its parts need not read all
-- of it. Ids of one mark begin with the same number, so nothing is sorted; a mark of several segments is a row of each.
create or replace function trunkline._stream_mark(stream int, lo pg_snapshot, hi pg_snapshot) returns trunkline.stream_mark[]
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $$
declare
    v_each  constant int := 500;
    v_marks trunkline.stream_mark[];
begin
    execute format($sql$
        select array_agg(row($1, 0, g.chunk * $4 + $4 - 1, g.n, greatest(g.chunk * $4 - 1, 0),
                             pg_relation_filenode(concat('trunkline.stream_event_', $1 * 4 + g.n)::regclass),
                             g.first_row, g.last_row, g.events, g.bytes)::trunkline.stream_mark)
          from (
                select id / $4 as chunk, 0 as n, min(ctid) as first_row, max(ctid) as last_row, count(*)::int as events,
                       sum(octet_length(payload)) as bytes
                  from trunkline.stream_event_%1$s
                 where xid >= pg_snapshot_xmin($2) and xid < pg_snapshot_xmax($3)
                   and (xid < pg_snapshot_xmin($3) or pg_visible_in_snapshot(xid, $3))
                   and (xid >= pg_snapshot_xmax($2) or not pg_visible_in_snapshot(xid, $2)) group by 1
                union all
                select id / $4 as chunk, 1 as n, min(ctid) as first_row, max(ctid) as last_row, count(*)::int as events,
                       sum(octet_length(payload)) as bytes
                  from trunkline.stream_event_%2$s
                 where xid >= pg_snapshot_xmin($2) and xid < pg_snapshot_xmax($3)
                   and (xid < pg_snapshot_xmin($3) or pg_visible_in_snapshot(xid, $3))
                   and (xid >= pg_snapshot_xmax($2) or not pg_visible_in_snapshot(xid, $2)) group by 1
                union all
                select id / $4 as chunk, 2 as n, min(ctid) as first_row, max(ctid) as last_row, count(*)::int as events,
                       sum(octet_length(payload)) as bytes
                  from trunkline.stream_event_%3$s
                 where xid >= pg_snapshot_xmin($2) and xid < pg_snapshot_xmax($3)
                   and (xid < pg_snapshot_xmin($3) or pg_visible_in_snapshot(xid, $3))
                   and (xid >= pg_snapshot_xmax($2) or not pg_visible_in_snapshot(xid, $2)) group by 1
                offset 0) g
        $sql$, stream * 4, stream * 4 + 1, stream * 4 + 2) into v_marks using stream, lo, hi, v_each;
    return v_marks;
end $$;
