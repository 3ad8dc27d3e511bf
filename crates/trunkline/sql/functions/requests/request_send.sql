-- Sends one request of text, in the caller's own transaction: its id, to be given to request_await after the commit.
-- channel: a channel's name, or `@` and a session's address. timeout: 1 ms to 7 days, counted from this call.
-- idempotent: may run again when its responder dies. one_way: no reply; confirm: but say that somebody took it.
-- Errors: TL012 when nobody serves the channel, unless wait_for_responder; TL004 payload too large; 22004, 22023.
-- Guarantee: goes out with the commit, is gone with a rollback; exactly one responder gets it.
create or replace function trunkline.request_send(channel text, payload text, type text default '',
    timeout interval default '30 seconds', headers jsonb default null, idempotent boolean default false,
    one_way boolean default false, confirm boolean default false, wait_for_responder boolean default false)
returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return trunkline._request_send(channel, convert_to(payload, 'UTF8'), 1, type, timeout, headers, idempotent,
                                   one_way, confirm, wait_for_responder);
end $$;
