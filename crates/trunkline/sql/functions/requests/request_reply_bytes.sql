-- Answers a request with bytes. See request_reply.
create or replace function trunkline.request_reply_bytes(claim text, payload bytea, headers jsonb default null)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    perform trunkline._request_settle(claim, 0, 0, 0, null, payload, headers);
end $$;
