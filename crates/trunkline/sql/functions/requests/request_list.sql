-- The requests that are kept, newest first: those of one channel or of all, at most `max`, and with an id below `before` where that is
-- given. state: waiting, taken, or the outcome. Shows sizes, never payloads. For people: it reads the rings, of all channels together
-- at most `max` rows.
create or replace function trunkline.request_list(channel text default null, max int default 100, before bigint default null)
returns table (id bigint, destination text, type text, state text, sent_at timestamptz, expires_at timestamptz, bytes int,
               attempt int, responder text)
language plpgsql stable security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
    return query
    select r.id, coalesce(c.name, '@' || s.address, '@gone'), r.type,
           coalesce(trunkline._request_outcome(e.status),
                    case when r.expires_at <= clock_timestamp() then 'timed out'
                         when t.session is not null then 'taken' else 'waiting' end),
           r.sent_at, r.expires_at, octet_length(r.payload), coalesce(t.attempt, 0), '@' || h.address
      from (select * from (select * from trunkline.request_e0 union all select * from trunkline.request_e1
                           union all select * from trunkline.request_d0 union all select * from trunkline.request_d1) k
             where k.id < coalesce(request_list.before, 9223372036854775807)
             order by k.id desc limit case when request_list.channel is null then request_list.max end) r
      left join trunkline.request_channel c on c.id = r.lane
      left join trunkline.session s on s.id = -r.lane
      left join lateral (
          select e.status from trunkline.ending_e0 e where e.id = r.id and e.part = 0 and e.status <> 6
          union all
          select e.status from trunkline.ending_e1 e where e.id = r.id and e.part = 0 and e.status <> 6
          union all
          select e.status from trunkline.ending_d0 e where e.id = r.id and e.part = 0 and e.status <> 6
          union all
          select e.status from trunkline.ending_d1 e where e.id = r.id and e.part = 0 and e.status <> 6
          limit 1) e on true
      left join lateral (
          select t.session, coalesce(t.attempts[array_position(t.ids, r.id)], 1) as attempt
            from (select * from trunkline.take_e0 union all select * from trunkline.take_e1
                  union all select * from trunkline.take_d0 union all select * from trunkline.take_d1) t
           where t.lane = r.lane and r.id = any (t.ids)
           order by t.turn desc limit 1) t on true
      left join trunkline.session h on h.id = t.session
     where request_list.channel is null or c.name = request_list.channel
     order by r.id desc limit request_list.max;
end $$;
