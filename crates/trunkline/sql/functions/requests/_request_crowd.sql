-- The lanes of all responders of a channel that are here now and serve this type, for asking each of them.
create or replace function trunkline._request_crowd(channel text, type text) returns int[]
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return array(
        select r.lane from trunkline.responder r join trunkline.request_channel c on c.id = r.channel
         where c.name = _request_crowd.channel and (r.types is null or _request_crowd.type = any (r.types))
           and trunkline._session_alive(r.session));
end $$;
