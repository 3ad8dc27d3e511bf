-- Puts an event aside for a consumer, everything given; its id, a new one where none was. Error: "consumer not registered".
create or replace function pgq.event_retry_raw(x_queue text, x_consumer text, x_retry_after timestamptz, x_ev_id bigint,
    x_ev_time timestamptz, x_ev_retry integer, x_ev_type text, x_ev_data text, x_ev_extra1 text, x_ev_extra2 text,
    x_ev_extra3 text, x_ev_extra4 text) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_id bigint;
begin
    insert into pgq.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_owner, ev_retry, ev_type, ev_data,
                                 ev_extra1, ev_extra2, ev_extra3, ev_extra4)
    select x_retry_after, s.sub_queue, coalesce(x_ev_id, nextval(q.queue_event_seq::regclass)), x_ev_time, s.sub_id, x_ev_retry,
           x_ev_type, x_ev_data, x_ev_extra1, x_ev_extra2, x_ev_extra3, x_ev_extra4
      from pgq.subscription s join pgq.consumer c on c.co_id = s.sub_consumer join pgq.queue q on q.queue_id = s.sub_queue
     where q.queue_name = x_queue and c.co_name = x_consumer
    returning ev_id into v_id;
    if not found then
        raise exception 'consumer not registered';
    end if;
    return v_id;
end $$;
