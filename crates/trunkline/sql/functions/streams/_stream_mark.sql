-- Notes where the events of a large window are (see stream_mark), so that its parts need not read all of it.
-- Locks: no segment is kept open; see _stream_measure.
create or replace function trunkline._stream_mark(stream int, tick bigint, lo pg_snapshot, hi pg_snapshot) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp set enable_seqscan = off set jit = off as $$
declare
    v_each  constant int := 5000;
    v_marks trunkline.stream_mark[];
begin
    begin
        execute format(
            'select array_agg(m) from (select $1, $2, max(max(id)) over chunk, n, min(min(id)) over chunk - 1,'
            ' pg_relation_filenode(concat(''trunkline.stream_event_'', $1 * 4 + n)::regclass), min(tid), max(tid)'
            ' from (select id, n, tid, (row_number() over (order by id) - 1) / $5 as chunk'
            ' from (select id, xid, ctid as tid, 0 as n from trunkline.stream_event_%s'
            ' union all select id, xid, ctid, 1 from trunkline.stream_event_%s'
            ' union all select id, xid, ctid, 2 from trunkline.stream_event_%s) e'
            ' where xid >= pg_snapshot_xmin($3) and xid < pg_snapshot_xmax($4)'
            ' and pg_visible_in_snapshot(xid, $4) and not pg_visible_in_snapshot(xid, $3)) e'
            ' group by chunk, n window chunk as (partition by chunk)) m', stream * 4, stream * 4 + 1, stream * 4 + 2)
            into v_marks using stream, tick, lo, hi, v_each;
        raise exception using errcode = 'raise_exception';
    exception when raise_exception then
        null;
    end;
    insert into trunkline.stream_mark select * from unnest(v_marks);
end $$;
