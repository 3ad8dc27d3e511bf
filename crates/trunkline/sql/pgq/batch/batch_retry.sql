-- Puts all events of an open batch aside for some seconds, but those that are aside already; how many.
create or replace function pgq.batch_retry(i_batch_id bigint, i_retry_seconds integer) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_sub   pgq.subscription;
    v_count int;
begin
    select * into v_sub from pgq.subscription where sub_batch = i_batch_id;
    if not found then
        raise exception 'batch_retry: batch % not found', i_batch_id;
    end if;
    insert into pgq.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_owner, ev_retry, ev_type, ev_data,
                                 ev_extra1, ev_extra2, ev_extra3, ev_extra4)
    select now() + make_interval(secs => i_retry_seconds), v_sub.sub_queue, e.ev_id, e.ev_time, v_sub.sub_id,
           coalesce(e.ev_retry, 0) + 1, e.ev_type, e.ev_data, e.ev_extra1, e.ev_extra2, e.ev_extra3, e.ev_extra4
      from pgq.get_batch_events(i_batch_id) e
    on conflict (ev_owner, ev_id) do nothing;
    get diagnostics v_count = row_count;
    return v_count;
end $$;
