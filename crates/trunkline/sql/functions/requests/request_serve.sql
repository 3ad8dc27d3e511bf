-- Makes this connection a responder of a channel, for some types (null: all): the name to LISTEN to for wake-ups.
-- Called again it changes the types. Ends with request_unserve, or with the connection.
-- The order that loses nothing: request_serve, LISTEN, then request_take until it is empty, then wait (with a time limit
-- of a second or so: NOTIFY is a hint), and take again.
create or replace function trunkline.request_serve(channel text, types text[] default null) returns text
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_me int := trunkline._session_own();
    v_to record;
begin
    select * into v_to from trunkline._request_serve(v_me, channel, types, (
        select r.lane from trunkline.responder r join trunkline.request_channel c on c.id = r.channel
         where c.name = request_serve.channel and r.session = v_me));
    perform trunkline._door_hold(v_to.lane & 63);
    return 'trunkline_' || (v_to.lane & 63);
end $$;
