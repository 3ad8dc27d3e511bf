-- What request_send and request_send_bytes share: checks every argument, then writes one request. Content: 0, 1 or 2.
-- With a mailbox open (request_mailbox) the request is this connection's own, where an outcome is expected.
create or replace function trunkline._request_send(channel text, payload bytea, content int, type text,
    timeout interval, headers jsonb, idempotent boolean, one_way boolean, confirm boolean, wait_for_responder boolean)
returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_to    record;
    v_ms    numeric := extract(epoch from timeout) * 1000;
    v_head  text := trunkline._request_check_headers(headers);
    v_flags int := content | case when idempotent then 4 else 0 end | case when one_way then 8 else 0 end
                   | case when confirm then 16 else 0 end | case when wait_for_responder then 0 else 32 end;
    v_box   text := case when not one_way or confirm then nullif(current_setting('trunkline.mailbox', true), '') end;
    v_me    int := 0;
    v_id    bigint;
begin
    if payload is null then
        raise exception 'request payload must not be null' using errcode = '22004';
    elsif v_ms is null or v_ms < 1 or v_ms > 604800000 then
        raise exception 'request timeout must be between 1 ms and 7 days, got %', coalesce(timeout::text, 'null')
            using errcode = '22023';
    elsif channel is null then
        raise exception 'request channel name must not be null' using errcode = '22004';
    end if;
    perform trunkline._request_check_type(type);
    select * into v_to from trunkline._request_lane(channel);
    if v_box is not null then
        if length(v_box) > 200000 then
            raise exception 'the mailbox holds some 10000 requests: take their outcomes with request_replies first'
                using errcode = '53400';
        end if;
        v_me := trunkline._session_own();
    end if;
    if v_to.durable then
        v_id := trunkline._request_write_d(v_me, 0, v_to.lane, type, v_ms::int, v_flags, payload, v_head);
    else
        v_id := trunkline._request_write_e(v_me, 0, v_to.lane, type, v_ms::int, v_flags, payload, v_head);
    end if;
    if v_id = 0 then
        raise exception 'nobody serves "%"', channel using errcode = 'TL012';
    end if;
    if v_box is not null then
        perform set_config('trunkline.mailbox', v_box || v_id || ' ', false);
    end if;
    return v_id;
end $$;
