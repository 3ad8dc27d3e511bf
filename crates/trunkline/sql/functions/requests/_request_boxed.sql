-- How the requests in this connection's mailbox stand, in the order of sending: status null while one is open. One that was
-- forgotten, a minute after its deadline, or lost in a crash, is `lost`. Another role's stay in the mailbox unseen.
create or replace function trunkline._request_boxed()
returns table (id bigint, lane int, type text, sent_at timestamptz, expires_at timestamptz, status smallint,
               content smallint, code text, payload bytea, headers text)
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
    return query
    select b.id, r.lane, r.type, r.sent_at, r.expires_at, case when r.id is null then 5::smallint else e.status end,
           coalesce(e.content, 0::smallint), e.code, e.payload, e.headers
      from unnest(string_to_array(btrim(current_setting('trunkline.mailbox', true)), ' ')::bigint[])
           with ordinality b(id, n)
      left join lateral (
           select * from (select * from trunkline.request_e0 union all select * from trunkline.request_e1
                          union all select * from trunkline.request_d0 union all select * from trunkline.request_d1) r
            where r.id = b.id limit 1) r on true
      left join lateral (
           select * from (select * from trunkline.ending_e0 union all select * from trunkline.ending_e1
                          union all select * from trunkline.ending_d0 union all select * from trunkline.ending_d1) e
            where e.id = b.id and e.part in (-1, 0) and e.status <> 6 order by e.part limit 1) e on true
     where r.id is null or pg_has_role(trunkline._role(), r.role, 'member')
     order by b.n;
end $$;
