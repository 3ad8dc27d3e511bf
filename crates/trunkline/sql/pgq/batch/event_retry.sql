-- Puts an event of an open batch aside until a time, or for some seconds; its consumer gets it again then: 1, or 0 when it is
-- aside already. Errors: "batch not found", "event not found".
create or replace function pgq.event_retry(x_batch_id bigint, x_event_id bigint, x_retry_time timestamptz) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
begin
    insert into pgq.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_owner, ev_retry, ev_type, ev_data,
                                 ev_extra1, ev_extra2, ev_extra3, ev_extra4)
    select x_retry_time, s.sub_queue, e.ev_id, e.ev_time, s.sub_id, coalesce(e.ev_retry, 0) + 1, e.ev_type, e.ev_data,
           e.ev_extra1, e.ev_extra2, e.ev_extra3, e.ev_extra4
      from pgq.get_batch_events(x_batch_id) e join pgq.subscription s on s.sub_batch = x_batch_id
     where e.ev_id = x_event_id;
    if not found then
        raise exception 'event not found';
    end if;
    return 1;
exception when unique_violation then
    return 0;
end $$;

create or replace function pgq.event_retry(x_batch_id bigint, x_event_id bigint, x_retry_seconds integer) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return pgq.event_retry(x_batch_id, x_event_id, now() + make_interval(secs => x_retry_seconds));
end $$;
