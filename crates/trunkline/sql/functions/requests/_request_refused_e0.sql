-- Of a reply that was not accepted in all its parts: the positions, from 1, of those that were refused. `xid` null: it was
-- tried before, and its answer lost. Only who holds a claim writes its parts and replies, so those that are there are his.
create or replace function trunkline._request_refused_e0(xid text, takes bigint[], tokens bigint[], slots int[], parts int[])
returns int[]
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return array(
        select u.pos::int
          from unnest(takes, tokens, slots, parts) with ordinality u(take, token, slot, part, pos)
         where not exists (
             select from trunkline.take_e0 t
               join trunkline.ending_e0 e on e.id = t.ids[u.slot] and e.attempt = coalesce(t.attempts[u.slot], 1)
              where t.id = u.take and t.token = u.token and e.part = u.part
                and case when _request_refused_e0.xid is null then e.status in (0, 1, 8, 9)
                         else e.xid = _request_refused_e0.xid::xid8 end));
end $$;
