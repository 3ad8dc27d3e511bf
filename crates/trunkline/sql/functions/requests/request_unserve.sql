-- Ends this connection's serving of a channel: true when it did serve it. What it has taken stays its own to answer.
create or replace function trunkline.request_unserve(channel text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_me  int := trunkline._session_own();
    v_own int;
begin
    select r.lane into v_own from trunkline.responder r join trunkline.request_channel c on c.id = r.channel
     where c.name = request_unserve.channel and r.session = v_me;
    if v_own is null then
        return false;
    end if;
    perform trunkline._request_unserve(v_me, v_own, false);
    return true;
end $$;
