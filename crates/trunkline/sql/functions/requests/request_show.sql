-- One request as it stands, and how it ended: one row. Shows sizes; the payloads themselves only when asked for, and
-- only to members of the role that sent it (null for others, and for bytes that are not text).
-- Errors: TL007 for an id that is unknown or forgotten.
create or replace function trunkline.request_show(request bigint, payloads boolean default false)
returns table (id bigint, destination text, type text, state text, sent_at timestamptz, expires_at timestamptz,
               ended_at timestamptz, role text, durable boolean, one_way boolean, idempotent boolean, headers jsonb,
               bytes int, attempt int, responder text, code text, reply_bytes int, payload text, reply text)
language plpgsql stable security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select r.id, coalesce(c.name, '@' || s.address, '@gone'), r.type,
           coalesce(trunkline._request_outcome(e.status),
                    case when r.expires_at <= clock_timestamp() then 'timed out'
                         when t.session is not null then 'taken' else 'waiting' end),
           r.sent_at, r.expires_at, e.ended_at, r.role, r.id & 2 = 2, r.flags & 8 = 8, r.flags & 4 = 4, r.headers::jsonb,
           octet_length(r.payload), coalesce(t.attempt, 0), '@' || h.address, e.code, octet_length(e.payload),
           case when m.shown and r.flags & 3 <> 0 then convert_from(r.payload, 'UTF8') end,
           case when m.shown and (e.content <> 0 or e.status in (1, 2)) then convert_from(e.payload, 'UTF8') end
      from (select * from trunkline.request_e0 union all select * from trunkline.request_e1
            union all select * from trunkline.request_d0 union all select * from trunkline.request_d1) r
      cross join lateral (
          select request_show.payloads and pg_has_role(trunkline._role(), r.role, 'member') as shown) m
      left join trunkline.request_channel c on c.id = r.lane
      left join trunkline.session s on s.id = -r.lane
      left join lateral (
          select * from trunkline.ending_e0 e where e.id = r.id and e.part = 0 and e.status <> 6
          union all
          select * from trunkline.ending_e1 e where e.id = r.id and e.part = 0 and e.status <> 6
          union all
          select * from trunkline.ending_d0 e where e.id = r.id and e.part = 0 and e.status <> 6
          union all
          select * from trunkline.ending_d1 e where e.id = r.id and e.part = 0 and e.status <> 6
          limit 1) e on true
      left join lateral (
          select t.session, coalesce(t.attempts[array_position(t.ids, r.id)], 1) as attempt
            from (select * from trunkline.take_e0 union all select * from trunkline.take_e1
                  union all select * from trunkline.take_d0 union all select * from trunkline.take_d1) t
           where t.lane = r.lane and r.id = any (t.ids)
           order by t.turn desc limit 1) t on true
      left join trunkline.session h on h.id = t.session
     where r.id = request_show.request;
    if not found then
        raise exception 'no request % (never sent, forgotten after its deadline, or lost in a crash)', request_show.request
            using errcode = 'TL007';
    end if;
end $$;
