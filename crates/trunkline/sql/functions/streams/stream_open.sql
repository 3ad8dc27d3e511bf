-- Makes a stream, or finds it: its id. Settings: stream_set.
-- Errors: 22004, 22023, TL011 for the name. Locks: adds three partitions, which waits for nobody who reads or appends.
create or replace function trunkline.stream_open(stream text) returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_id int := (select s.id from trunkline.stream s where s.name = stream_open.stream);
begin
    if v_id is not null then
        return v_id;
    end if;
    perform trunkline._check_name('stream', stream_open.stream);
    perform trunkline._check_read_committed('stream_open');
    v_id := nextval('trunkline.stream_id_seq');
    insert into trunkline.stream (id, name, segment, home) overriding system value
    values (v_id, stream_open.stream, v_id * 4, 'trunkline.stream'::regclass) on conflict do nothing;
    if not found then
        return (select s.id from trunkline.stream s where s.name = stream_open.stream);
    end if;
    for v_n in 0..2 loop
        execute format('create table trunkline.stream_event_%1$s (like trunkline.stream_event including defaults)
                            with (autovacuum_enabled = off);
                        create index stream_event_%1$s_xid on trunkline.stream_event_%1$s (xid);
                        alter table trunkline.stream_event attach partition trunkline.stream_event_%1$s for values in (%1$s)',
                       v_id * 4 + v_n);
    end loop;
    perform trunkline._stream_measure_make(v_id);
    execute format('create sequence trunkline.stream_tick_%s', v_id);
    insert into trunkline.stream_clock (stream) values (v_id);
    insert into trunkline.stream_tick (stream, id, seen, events, bytes, segments)
    select v_id, c.id, c.seen, 0, 0, 0 from trunkline._stream_clock(v_id) c;
    update trunkline.stream s set first_tick = 1 where s.id = v_id;
    return v_id;
end $$;
