-- Removes a stream and its events: false when there is none. Errors: 2BP01 while it has consumers, unless `force`.
-- Locks: every stream's appends wait for the moment of it, and it waits for those under way.
create or replace function trunkline.stream_drop(stream text, force boolean default false) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_id int := (select s.id from trunkline.stream s where s.name = stream_drop.stream for update);
begin
    if v_id is null then
        return false;
    elsif not force and exists (select from trunkline.stream_consumer c where c.stream = v_id) then
        raise exception 'stream "%" has consumers', stream_drop.stream using errcode = '2BP01',
            hint = 'unregister them, or drop it by force';
    end if;
    perform trunkline._stream_forget(c.id) from trunkline.stream_consumer c where c.stream = v_id;
    delete from trunkline.stream_copy c where c.stream = v_id;
    delete from trunkline.stream_tick t where t.stream = v_id;
    delete from trunkline.stream_mark m where m.stream = v_id;
    delete from trunkline.stream_clock c where c.stream = v_id;
    delete from trunkline.stream s where s.id = v_id;
    for v_n in 0..2 loop
        execute format('drop table trunkline.stream_event_%s', v_id * 4 + v_n);
    end loop;
    execute format('drop sequence trunkline.stream_tick_%s', v_id);
    execute format('drop function trunkline._stream_measure_%s(pg_snapshot, pg_snapshot)', v_id);
    return true;
end $$;
