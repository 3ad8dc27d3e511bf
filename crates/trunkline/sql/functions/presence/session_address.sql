-- The address of this connection's session, as `@uuid`, for peers to send to; opens the session on the first call.
-- The session lasts as long as the connection, and needs one of its own: not behind a transaction pooler.
create or replace function trunkline.session_address() returns text
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return '@' || (select s.address from trunkline.session s where s.id = trunkline._session_own());
end $$;
