-- Who serves what, here and now: one row for each live responder and channel.
create or replace function trunkline.request_responders()
returns table (channel text, address text, types text[], application text, role text, pid int, since timestamptz)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select c.name, '@' || s.address, r.types, s.application, s.role, s.pid, s.opened_at
      from trunkline.responder r
      join trunkline.request_channel c on c.id = r.channel
      join trunkline.session s on s.id = r.session
     where trunkline._session_alive(s.id)
     order by c.name, s.id;
end $$;
