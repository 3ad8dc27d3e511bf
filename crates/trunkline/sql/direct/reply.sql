-- Endings by claim, as _request_reply_e0 writes them. $1 the sessions to ring; then for each: $2 take, $3 token, $4 slot,
-- $5 status, $6 content, $7 code, $8 payload, $9 headers. A row for each that was accepted, with its transaction.
insert into trunkline.ending_e0
    (id, attempt, part, caller, corr, status, content, ended_at, code, payload, headers)
select t.ids[u.slot], coalesce(t.attempts[u.slot], 1), 0, t.callers[u.slot], t.corrs[u.slot], u.status, u.content,
       statement_timestamp(), u.code, u.payload, u.headers
  from unnest($2, $3, $4, $5, $6, $7, $8, $9) u(take, token, slot, status, content, code, payload, headers)
  join trunkline.take_e0 t on t.id = u.take and t.token = u.token
 where t.deadlines[u.slot] > statement_timestamp() and t.ids[u.slot] is not null
   and (select count(trunkline._door_ring(64 + c)) from unnest($1) c) >= 0
    on conflict do nothing
returning xid::text
