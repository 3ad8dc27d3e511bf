-- Moves a consumer to another position (as in stream_register): the tick after which it goes on. Whoever holds a batch of it can
-- no longer finish it. Every event after the position comes once more: one of them that was to come again does not come
-- twice. Dead letters stay. Who moved it, from where to where, is in stream_move.
-- Errors: 42704, 42501 for another role's consumer, 22023, TL007 for what is no longer kept; 25001 outside READ COMMITTED.
-- Locks: the stream's row, so that nothing is emptied meanwhile; waits for whoever takes or finishes a batch just now.
create or replace function trunkline.stream_seek(stream text, consumer text, at text) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_of   trunkline.stream_consumer := trunkline._stream_consumer(stream_seek.stream, stream_seek.consumer);
    v_from bigint;
    v_at   bigint;
    v_in   record;
begin
    perform trunkline._check_read_committed('stream_seek');
    if stream_seek.at is null then
        raise exception 'position must not be null' using errcode = '22004';
    end if;
    perform from trunkline.stream s where s.id = v_of.stream for no key update;
    v_at := trunkline._stream_position(v_of.stream, stream_seek.at);
    v_from := trunkline._stream_low(v_of.id);
    perform trunkline._stream_place(v_of.id, v_at);
    if exists (select from trunkline.stream_again a where a.consumer = v_of.id) then
        select * into v_in
          from trunkline._stream_span(v_of.stream, v_at, (select max(t.id) from trunkline.stream_tick t where t.stream = v_of.stream));
        delete from trunkline.stream_again a
         where a.consumer = v_of.id
           and a.id in (select w.id from trunkline._stream_window(v_of.stream, v_in.segments, v_in.lo, v_in.hi, 0, null, null) w);
    end if;
    insert into trunkline.stream_move (consumer, stream, role, from_tick, to_tick)
    values (v_of.name, stream_seek.stream, trunkline._role(), v_from, v_at);
    perform trunkline._door_ring(-1 - (v_of.stream & 63));
    return v_at;
end $$;
