-- Makes a tick for each queue that needs one: how many. A queue that fails is a warning, and stops no other.
-- For one queue: the tick's id, or null when none is due; errors "no such queue", and for an external or paused one.
-- For an external queue: takes over a tick of its source. READ COMMITTED only (25001): the snapshot of a tick must be newer
-- than that of the one before. Locks: the queue's row, before the snapshot is taken; who ticks them all passes one that is held.
create or replace function pgq.ticker() returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_queue pgq.queue;
    v_count bigint := 0;
begin
    perform pgq._check_read_committed('pgq.ticker');
    for v_queue in
        select * from pgq.queue where not queue_external_ticker and not queue_ticker_paused order by queue_name
    loop
        begin
            if pgq._tick_due(v_queue) then
                perform from pgq.queue where queue_id = v_queue.queue_id for no key update skip locked;
                if found and pgq._tick(v_queue.queue_id) is not null then
                    v_count := v_count + 1;
                end if;
            end if;
        exception when others then
            raise warning 'ticker: queue %: %', v_queue.queue_name, sqlerrm using errcode = sqlstate;
        end;
    end loop;
    return v_count;
end $$;

create or replace function pgq.ticker(i_queue_name text) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_queue pgq.queue;
begin
    perform pgq._check_read_committed('pgq.ticker');
    select * into v_queue from pgq.queue where queue_name = i_queue_name;
    if not found then
        raise exception 'no such queue';
    elsif v_queue.queue_external_ticker then
        raise exception 'This queue has external tick source.';
    elsif v_queue.queue_ticker_paused then
        raise exception 'Ticker has been paused for this queue';
    elsif not pgq._tick_due(v_queue) then
        return null;
    end if;
    perform from pgq.queue where queue_id = v_queue.queue_id for no key update;
    return pgq._tick(v_queue.queue_id);
end $$;

create or replace function pgq.ticker(i_queue_name text, i_tick_id bigint, i_orig_timestamp timestamptz, i_event_seq bigint)
returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_queue pgq.queue;
begin
    perform pgq._check_read_committed('pgq.ticker');
    select * into v_queue from pgq.queue
     where queue_name = i_queue_name and queue_external_ticker and not queue_ticker_paused for no key update;
    if not found then
        raise exception 'queue not found or ticker disabled: %', i_queue_name;
    end if;
    perform pgq._tick_insert(v_queue.queue_id, i_tick_id, i_orig_timestamp, i_event_seq);
    perform pgq.seq_setval(v_queue.queue_tick_seq, i_tick_id), pgq.seq_setval(v_queue.queue_event_seq, i_event_seq);
    return i_tick_id;
end $$;
