-- What this connection has taken and not answered, as request_take gave it, oldest first: no rows when it holds nothing.
create or replace function trunkline.request_incoming()
returns table (id bigint, claim text, type text, payload text, bytes bytea, headers jsonb, expires_at timestamptz,
               attempt int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
    return query
    select u.id, concat_ws(':', t.id, t.token, u.slot), r.type,
           case when r.flags & 3 <> 0 then trunkline._request_text(r.payload) end, r.payload,
           trunkline._request_headers(r.headers), r.expires_at, coalesce(u.attempt, 1)
      from (select * from trunkline.take_e0 union all select * from trunkline.take_e1
            union all select * from trunkline.take_d0 union all select * from trunkline.take_d1) t
     cross join lateral unnest(t.ids, t.attempts) with ordinality u(id, attempt, slot)
     cross join lateral (
           select * from (select * from trunkline.request_e0 union all select * from trunkline.request_e1
                          union all select * from trunkline.request_d0 union all select * from trunkline.request_d1) r
            where r.id = u.id limit 1) r
     where t.session = trunkline._session_own() and t.expires_at > clock_timestamp() and r.expires_at > clock_timestamp()
       and not exists (
           select from (select * from trunkline.ending_e0 union all select * from trunkline.ending_e1
                        union all select * from trunkline.ending_d0 union all select * from trunkline.ending_d1) e
            where e.id = u.id and e.attempt = coalesce(u.attempt, 1) and e.part = 0)
     order by t.taken_at, t.id, u.slot;
end $$;
