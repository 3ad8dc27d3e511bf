-- Closes the segment that is the next to be emptied.
create or replace function pgq._seal_next(for_queue integer) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
begin
    perform pgq._seal(queue_id, (queue_cur_table + 1) % queue_ntables) from pgq.queue where queue_id = for_queue;
end $$;
