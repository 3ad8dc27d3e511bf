-- Makes the streams of a restored database go on in this cluster, with nothing lost or doubled: see _stream_rebase_one. Run
-- by schema_repair. Locks: everything of streams, so that nobody reads a window half old and half new.
create or replace function trunkline._stream_rebase() returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_id int;
begin
    lock table trunkline.stream, trunkline.stream_tick, trunkline.stream_mark, trunkline.stream_take, trunkline.stream_event
        in access exclusive mode;
    delete from trunkline.stream_mark;                     -- rows move
    for v_id in select s.id from trunkline.stream s order by s.id loop
        perform trunkline._stream_rebase_one(v_id);
    end loop;
    update trunkline.stream_consumer c set slow_since = null where c.slow_since is not null;
    update trunkline.stream s set home = 'trunkline.stream'::regclass where s.home <> 'trunkline.stream'::regclass;
end $$;
