-- Appends endings and parts of a responder, by claim (take, token, slot): the positions, from 1, that were refused:
-- the attempt has ended already, its deadline passed, or the claim is not theirs. `callers`: the sessions to ring.
-- (id, attempt, part) is unique, so an attempt ends once, whoever tries and at whatever isolation level.
-- Statuses: see _request_end_e. Locks: waits for a transaction that is ending the same attempt just now.
create or replace function trunkline._request_reply_e0(callers int[], takes bigint[], tokens bigint[], slots int[],
    parts int[], statuses smallint[], contents smallint[], codes text[], payloads bytea[], headers text[])
returns int[]
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_xid  xid8 := pg_current_xact_id();                -- drawn before the doors are tested: see _door_ring
    v_now  timestamptz := clock_timestamp();
    v_one  int;
    v_sum  int;
    v_rang boolean;
begin
    insert into trunkline.ending_e0
        (id, attempt, part, xid, caller, corr, status, content, ended_at, code, payload, headers)
    select t.ids[u.slot], coalesce(t.attempts[u.slot], 1), u.part, v_xid, t.callers[u.slot], t.corrs[u.slot],
           u.status, u.content, v_now, u.code, u.payload, u.header
      from unnest(takes, tokens, slots, parts, statuses, contents, codes, payloads, headers)
           u(take, token, slot, part, status, content, code, payload, header)
      join trunkline.take_e0 t on t.id = u.take and t.token = u.token
     where t.deadlines[u.slot] > v_now and t.ids[u.slot] is not null
       and (u.part = 0                -- a part comes before the ending; scalar, so that it is never hashed
            or (select 1 from trunkline.ending_e0 e
                 where e.id = t.ids[u.slot] and e.attempt = coalesce(t.attempts[u.slot], 1) and e.part = 0) is null)
        on conflict do nothing;
    get diagnostics v_sum = row_count;
    foreach v_one in array callers loop
        v_rang := trunkline._door_ring(64 + v_one);
    end loop;
    if v_sum = cardinality(takes) then
        return '{}';
    end if;
    return array(
        select u.pos::int
          from unnest(takes, tokens, slots, parts) with ordinality u(take, token, slot, part, pos)
         where not exists (
             select from trunkline.take_e0 t
               join trunkline.ending_e0 e on e.id = t.ids[u.slot] and e.attempt = coalesce(t.attempts[u.slot], 1)
              where t.id = u.take and t.token = u.token and e.part = u.part and e.xid = v_xid and e.ended_at = v_now));
end $$;
