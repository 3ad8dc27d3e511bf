-- Removes a consumer, and what was to come again to it: false when there is none. Its dead letters go with it.
-- Waits for who is taking or finishing a batch of it just now.
create or replace function trunkline.stream_unregister(stream text, consumer text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_id int;
begin
    if not exists (select from trunkline.stream_consumer c join trunkline.stream s on s.id = c.stream
                    where s.name = stream_unregister.stream and c.name = stream_unregister.consumer) then
        return false;
    end if;
    v_id := (trunkline._stream_consumer(stream_unregister.stream, stream_unregister.consumer)).id;
    perform trunkline._stream_forget(v_id);
    return true;
end $$;
