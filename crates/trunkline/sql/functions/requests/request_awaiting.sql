-- What this connection sent through its mailbox and has no outcome yet, in the order of sending. No rows without a mailbox.
create or replace function trunkline.request_awaiting()
returns table (id bigint, destination text, type text, sent_at timestamptz, expires_at timestamptz)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select b.id, coalesce(c.name, '@' || s.address, '@gone'), b.type, b.sent_at, b.expires_at
      from trunkline._request_boxed() with ordinality b(id, lane, type, sent_at, expires_at, status, content, code,
                                                        payload, headers, n)
      left join trunkline.request_channel c on c.id = b.lane
      left join trunkline.session s on s.id = -b.lane
     where b.status is null
     order by b.n;
end $$;
