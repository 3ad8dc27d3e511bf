-- Answers a request with text, in the caller's own transaction when there is one: together with the handler's writes.
-- Errors: TL001 when the claim is no longer yours (late, cancelled, handed on): nothing was changed. TL004, 22023.
create or replace function trunkline.request_reply(claim text, payload text, headers jsonb default null) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    perform trunkline._request_settle(claim, 0, 0, 1, null, convert_to(payload, 'UTF8'), headers);
end $$;
