-- Appends endings and parts of a responder, by claim (take, token, slot): how many were accepted, and the transaction that
-- they carry. When that is not all of them, _request_refused_e0 tells which. `callers`: the sessions to ring.
-- Refused: the attempt has ended already, its deadline passed, or the claim is not theirs. (id, attempt, part) is unique,
-- so an attempt ends once, whoever tries and at whatever isolation level. Statuses: see _request_end_e.
-- Locks: waits for a transaction that is ending the same attempt just now. Short way: sql/direct/reply.sql.
create or replace function trunkline._request_reply_e0(callers int[], takes bigint[], tokens bigint[], slots int[],
    parts int[], statuses smallint[], contents smallint[], codes text[], payloads bytea[], headers text[])
returns table (accepted bigint, xid text, rang boolean)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    with written as (
        insert into trunkline.ending_e0
            (id, attempt, part, caller, corr, status, content, ended_at, code, payload, headers)
        select t.ids[u.slot], coalesce(t.attempts[u.slot], 1), u.part, t.callers[u.slot], t.corrs[u.slot],
               u.status, u.content, clock_timestamp(), u.code, u.payload, u.headers
          from unnest($2, $3, $4, $5, $6, $7, $8, $9, $10)
               u(take, token, slot, part, status, content, code, payload, headers)
          join trunkline.take_e0 t on t.id = u.take and t.token = u.token
         where t.deadlines[u.slot] > clock_timestamp() and t.ids[u.slot] is not null
           and (u.part = 0            -- a part comes before the ending; scalar, so that it is never hashed
                or (select 1 from trunkline.ending_e0 e
                     where e.id = t.ids[u.slot] and e.attempt = coalesce(t.attempts[u.slot], 1) and e.part = 0) is null)
            on conflict do nothing
        returning id
    )
    select count(*), pg_current_xact_id()::text,
           (select bool_or(trunkline._door_ring(64 + c)) from unnest($1) c) from written;
end $$;
