-- Writes the function _stream_measure_<stream>: what a stream has between two snapshots, the first of which is near its end: how
-- many events, 20001 at most of a segment, of how many bytes, in which segments, as bits. For _stream_tick_short, which has
-- a subtransaction around it. Statements for its own segments are planned once a session; a text that names them costs each
-- time more than all else that a look does.
create or replace function trunkline._stream_measure_make(stream int) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $make$
declare
    v_parts text := '';
begin
    for v_n in 0..2 loop
        v_parts := v_parts || format($part$
    if pg_relation_size('trunkline.stream_event_%1$s') > 0 then
        select count(*), coalesce(sum(octet_length(e.payload)), 0) into v_events, v_bytes
          from (select payload from trunkline.stream_event_%1$s
                 where xid >= pg_snapshot_xmin(lo) and xid < pg_snapshot_xmax(hi)
                   and pg_visible_in_snapshot(xid, hi) and not pg_visible_in_snapshot(xid, lo) limit 20001) e;
        if v_events > 0 then
            events := events + v_events; bytes := bytes + v_bytes; segments := segments | %2$s;
        end if;
    end if;$part$, stream * 4 + v_n, 1 << v_n);
    end loop;
    execute format('create function trunkline._stream_measure_%1$s(lo pg_snapshot, hi pg_snapshot, out events bigint, out bytes bigint,
                                                                   out segments int)
                        language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
                        set enable_seqscan = off set enable_bitmapscan = off set jit = off
                        set plan_cache_mode = force_generic_plan as $body$
declare
    v_events bigint;
    v_bytes  bigint;
begin
    events := 0; bytes := 0; segments := 0;%2$s
end $body$;
                    revoke all on function trunkline._stream_measure_%1$s from public', stream, v_parts);
end $make$;
