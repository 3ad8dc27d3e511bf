-- Deletes all that is kept of a consumer; who waits for it is told.
create or replace function trunkline._stream_forget(consumer int) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    delete from trunkline.stream_take t where t.consumer = _stream_forget.consumer;
    delete from trunkline.stream_take_end t where t.consumer = _stream_forget.consumer;
    delete from trunkline.stream_tag t where t.consumer = _stream_forget.consumer;
    delete from trunkline.stream_again t where t.consumer = _stream_forget.consumer;
    delete from trunkline.stream_dead t where t.consumer = _stream_forget.consumer;
    perform trunkline._door_ring(-1 - (c.stream & 63)) from trunkline.stream_consumer c where c.id = _stream_forget.consumer;
    delete from trunkline.stream_consumer c where c.id = _stream_forget.consumer;
end $$;
