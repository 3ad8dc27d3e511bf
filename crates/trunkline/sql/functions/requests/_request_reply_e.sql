-- Ends or part-answers requests that were taken: by take, token and slot. The slots (positions in the arrays) refused.
-- Refused, with nothing changed: a token that is not the take's, a deadline passed, an attempt that ended otherwise.
-- In the caller's own transaction the reply goes out with the commit, together with the handler's writes.
-- Guarantee: at most one ending for each attempt; a stale hand changes nothing.
create or replace function trunkline._request_reply_e(takes bigint[], tokens bigint[], slots int[], parts int[],
    statuses smallint[], contents smallint[], codes text[], payloads bytea[], headers text[]) returns int[]
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    v_ends trunkline.request_end[];
    v_pos  int[];
    v_done bigint[];
    v_now  timestamptz := clock_timestamp();
begin
    select array_agg(row(t.ids[u.slot], t.attempts[u.slot], u.part, t.callers[u.slot], t.corrs[u.slot], u.status,
                         u.content, u.code, u.payload, u.header)::trunkline.request_end),
           array_agg(u.pos::int)
      into v_ends, v_pos
      from unnest(takes, tokens, slots, parts, statuses, contents, codes, payloads, headers) with ordinality
           u(take, token, slot, part, status, content, code, payload, header, pos)
      cross join lateral (
          select t.ids, t.attempts, t.callers, t.corrs, t.deadlines from trunkline.take_e0 t
           where t.id = u.take and t.token = u.token
          union all
          select t.ids, t.attempts, t.callers, t.corrs, t.deadlines from trunkline.take_e1 t
           where t.id = u.take and t.token = u.token) t
     where t.deadlines[u.slot] > v_now;
    if v_ends is null then
        return array(select generate_subscripts(takes, 1));
    end if;
    v_done := trunkline._request_end_e(v_ends);
    if cardinality(v_done) = cardinality(takes) then
        return '{}';
    end if;
    return array(
        select n from generate_subscripts(takes, 1) n
         where not exists (select from generate_subscripts(v_ends, 1) i
                            where v_pos[i] = n and v_ends[i].id = any (v_done)));
end $$;
