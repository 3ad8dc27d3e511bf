-- Makes this connection a responder of a channel, for some types (null: all): the name to LISTEN to for wake-ups.
-- The order that loses nothing: request_serve, LISTEN, then request_take until it is empty, then wait (with a time limit
-- of a second or so: NOTIFY is a hint), and take again.
create or replace function trunkline.request_serve(channel text, types text[] default null) returns text
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_to record;
begin
    select * into v_to from trunkline._request_serve(trunkline._session_own(), channel, types);
    perform trunkline._door_hold(v_to.lane & 63);
    return 'trunkline_' || (v_to.lane & 63);
end $$;
