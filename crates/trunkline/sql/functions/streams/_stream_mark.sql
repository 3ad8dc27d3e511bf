-- Notes where the events of a large window are (see stream_mark), so that its parts need not read all of it.
-- Locks: no segment is kept open; see _stream_measure.
create or replace function trunkline._stream_mark(stream int, tick bigint, lo pg_snapshot, hi pg_snapshot) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_sort = off set jit = off as $$
declare
    v_each  constant int := 500;
    v_marks trunkline.stream_mark[];
begin
    begin
        execute format(
            'select array_agg(m) from (select $1, $2, max(g.upto) over chunk, g.n, min(g.after) over chunk,'
            ' pg_relation_filenode(concat(''trunkline.stream_event_'', $1 * 4 + g.n)::regclass),'
            ' g.first_row, g.last_row, g.events, g.bytes'
            ' from (select e.id / $5 as chunk, e.n, max(e.id) as upto, min(e.id) - 1 as after, min(e.tid) as first_row,'
            ' max(e.tid) as last_row, count(*)::int as events, sum(e.bytes) as bytes'
            ' from (select id, xid, ctid as tid, octet_length(payload)::bigint as bytes, 0 as n from trunkline.stream_event_%s'
            ' union all select id, xid, ctid, octet_length(payload), 1 from trunkline.stream_event_%s'
            ' union all select id, xid, ctid, octet_length(payload), 2 from trunkline.stream_event_%s) e'
            ' where e.xid >= pg_snapshot_xmin($3) and e.xid < pg_snapshot_xmax($4)'
            ' and pg_visible_in_snapshot(e.xid, $4) and not pg_visible_in_snapshot(e.xid, $3)'
            ' group by 1, 2 offset 0) g window chunk as (partition by g.chunk)) m', stream * 4, stream * 4 + 1, stream * 4 + 2)
            into v_marks using stream, tick, lo, hi, v_each;
        raise exception using errcode = 'raise_exception';
    exception when raise_exception then
        null;
    end;
    insert into trunkline.stream_mark select * from unnest(v_marks);
end $$;
