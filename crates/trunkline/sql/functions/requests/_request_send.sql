-- What request_send and request_send_bytes share: checks every argument, then writes one request. Content: 0, 1 or 2.
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
    if v_to.durable then
        v_id := trunkline._request_write_d(0, 0, v_to.lane, type, v_ms::int, v_flags, payload, v_head);
    else
        v_id := trunkline._request_write_e(0, 0, v_to.lane, type, v_ms::int, v_flags, payload, v_head);
    end if;
    if v_id = 0 then
        raise exception 'nobody serves "%"', channel using errcode = 'TL012';
    end if;
    return v_id;
end $$;
