-- Ends or part-answers requests that were taken: by take, token and slot. The positions (in the arrays) refused.
-- Refused, with nothing changed: a token that is not the take's, a deadline passed, an attempt that ended otherwise.
-- In the caller's own transaction the reply goes out with the commit, together with the handler's writes.
-- Guarantee: at most one ending for each attempt; a stale hand changes nothing. Statuses: see _request_end_e.
create or replace function trunkline._request_reply_e(takes bigint[], tokens bigint[], slots int[], parts int[],
    statuses smallint[], contents smallint[], codes text[], payloads bytea[], headers text[]) returns int[]
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_now  timestamptz := clock_timestamp();
    v_ids  bigint[];
    v_part int[];
    v_who  int[];
    v_one  int;
begin
    with v as (
        select t.ids[u.slot] as id, t.attempts[u.slot] as attempt, u.part, t.callers[u.slot] as caller,
               t.corrs[u.slot] as corr, u.status, u.content, u.code, u.payload, u.header
          from unnest(takes, tokens, slots, parts, statuses, contents, codes, payloads, headers)
               u(take, token, slot, part, status, content, code, payload, header)
          cross join lateral (
              select t.* from trunkline.take_e0 t where t.id = u.take and t.token = u.token
              union all
              select t.* from trunkline.take_e1 t where t.id = u.take and t.token = u.token) t
         where t.deadlines[u.slot] > v_now
           and (u.part = 0            -- a part comes before the ending; scalar, so that it is never hashed
                or (select 1 from trunkline.ending_e0 e
                     where e.id = t.ids[u.slot] and e.attempt = t.attempts[u.slot] and e.part = 0) is null
                   and (select 1 from trunkline.ending_e1 e
                         where e.id = t.ids[u.slot] and e.attempt = t.attempts[u.slot] and e.part = 0) is null)
    ), i0 as (
        insert into trunkline.ending_e0
            (id, attempt, part, caller, corr, status, content, ended_at, code, payload, headers)
        select id, attempt, part, caller, corr, status, content, v_now, code, payload, header from v where id & 1 = 0
        on conflict do nothing returning id, part, caller
    ), i1 as (
        insert into trunkline.ending_e1
            (id, attempt, part, caller, corr, status, content, ended_at, code, payload, headers)
        select id, attempt, part, caller, corr, status, content, v_now, code, payload, header from v where id & 1 = 1
        on conflict do nothing returning id, part, caller
    )
    select array_agg(id), array_agg(part), array_agg(distinct caller) into v_ids, v_part, v_who
      from (select * from i0 union all select * from i1) i;
    foreach v_one in array coalesce(v_who, '{}') loop
        if v_one <> 0 then
            perform trunkline._door_ring(64 + v_one);
        end if;
    end loop;
    if cardinality(v_ids) = cardinality(takes) then
        return '{}'::int[];
    end if;
    return array(
        select u.pos::int
          from unnest(takes, slots, parts) with ordinality u(take, slot, part, pos)
         where not exists (
             select from (select * from trunkline.take_e0 union all select * from trunkline.take_e1) t
               join unnest(v_ids, v_part) d(id, part) on d.id = t.ids[u.slot] and d.part = u.part
              where t.id = u.take));
end $$;
