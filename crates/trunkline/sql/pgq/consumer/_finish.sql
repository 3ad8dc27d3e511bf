-- Ends a batch, whoever asks for it: a consumer's cursor moves on; a subconsumer's is cleared, for its consumer has moved on.
create or replace function pgq._finish(batch bigint) returns boolean
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_part boolean;
begin
    select pgq._is_subconsumer(s.sub_queue, s.sub_id, c.co_name) into v_part
      from pgq.subscription s join pgq.consumer c on c.co_id = s.sub_consumer where s.sub_batch = batch;
    update pgq.subscription
       set sub_active = now(), sub_batch = null, sub_next_tick = null,
           sub_last_tick = case when not v_part then sub_next_tick end
     where sub_batch = batch;
    return found;
end $$;
