-- Begins to LISTEN, on this connection, for what is published on volatile topics: a notification, of whatever channel, says to call
-- topic_read again, for all that this connection reads. Publishers notify only while it sleeps: since a topic_read that found nothing,
-- until one that finds something. Once more adds topics; topic_unlisten ends it. With the transaction, as LISTEN itself: commit it before
-- the read that you sleep on. Not behind a transaction pooler. Nothing rings for what this connection publishes itself, nor for what a
-- transaction was publishing just when you fell asleep: so read again after the one, and every few seconds for the other.
-- Errors: as topic_read's for its topics.
create or replace function trunkline.topic_listen(topics text[]) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_doors int[] := coalesce(nullif(current_setting('trunkline.topic_doors', true), ''), '{}')::int[];
    v_door  int;
begin
    foreach v_door in array (trunkline._topic_wanted(topics)).doors loop
        execute format('listen %I', 'trunkline_' || v_door);       -- again, too: UNLISTEN * may have come between
        if v_door <> all (v_doors) then
            v_doors := v_doors || v_door;
        end if;
    end loop;
    perform set_config('trunkline.topic_doors', v_doors::text, false);
end $$;
