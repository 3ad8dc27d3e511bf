-- Sends one request of bytes, in the caller's own transaction: its id. See request_send.
create or replace function trunkline.request_send_bytes(channel text, payload bytea, type text default '',
    timeout interval default '30 seconds', headers jsonb default null, idempotent boolean default false,
    one_way boolean default false, confirm boolean default false, wait_for_responder boolean default false)
returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return trunkline._request_send(channel, payload, 0, type, timeout, headers, idempotent, one_way, confirm,
                                   wait_for_responder);
end $$;
