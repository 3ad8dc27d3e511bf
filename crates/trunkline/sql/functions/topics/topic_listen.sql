-- Begins to LISTEN, on this connection, for what is published on volatile topics: a notification, of whatever channel, says to call
-- topic_read again. Publishers notify only while this connection sleeps: since a topic_read that found nothing, until one that finds
-- something. Once more adds topics; topic_unlisten ends it. With the transaction, as LISTEN itself; not behind a transaction pooler.
-- Read before you sleep, and again every few seconds: what a transaction was publishing just when you fell asleep rings nobody.
-- Errors: as topic_read's for its topics.
create or replace function trunkline.topic_listen(topics text[]) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_doors int[] := coalesce(nullif(current_setting('trunkline.topic_doors', true), ''), '{}')::int[];
    v_door  int;
begin
    foreach v_door in array (trunkline._topic_wanted(topics)).doors loop
        if v_door <> all (v_doors) then
            execute format('listen %I', 'trunkline_' || v_door);
            v_doors := v_doors || v_door;
        end if;
    end loop;
    perform set_config('trunkline.topic_doors', v_doors::text, false);
end $$;
