-- Opens the next batch of a consumer, or finds the open one: its id and ticks, all null when there is nothing new.
create or replace function pgq.next_batch_info(i_queue_name text, i_consumer_name text, out batch_id bigint,
    out cur_tick_id bigint, out prev_tick_id bigint, out cur_tick_time timestamptz, out prev_tick_time timestamptz,
    out cur_tick_event_seq bigint, out prev_tick_event_seq bigint)
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    select f.* into batch_id, cur_tick_id, prev_tick_id, cur_tick_time, prev_tick_time, cur_tick_event_seq, prev_tick_event_seq
      from pgq.next_batch_custom(i_queue_name, i_consumer_name, null, null, null) f;
end $$;
