-- Answers a request with an error of the responder's own: a code (at most 100 bytes) and a text. See request_reply.
create or replace function trunkline.request_fail(claim text, code text, message text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    perform trunkline._request_settle(claim, 0, 1, 1, left(coalesce(code, 'error'), 100),
                                      convert_to(coalesce(message, ''), 'UTF8'), null);
end $$;
