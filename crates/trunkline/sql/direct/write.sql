-- Requests for one lane, as _request_write_e0 writes them. $1 session, $2 lane, $3 fail where nobody serves it, $4 role;
-- then for each request: $5 correlation, $6 type, $7 timeout in ms, $8 flags, $9 payload, $10 headers.
-- The id of each, in order. No rows: nobody serves the lane, and nothing was written.
insert into trunkline.request_e0
    (id, lane, caller, corr, flags, sent_at, expires_at, role, type, payload, headers)
select nextval('trunkline.log_id_e') * 4 + case right('request_e0', 2)
           when 'e0' then 0 when 'e1' then 1 when 'd0' then 2 else 3 end,
       $2, $1, u.corr, u.flags, statement_timestamp(), statement_timestamp() + u.ms * interval '1 millisecond', $4,
       u.type, u.payload, u.headers
  from unnest($5, $6, $7, $8, $9, $10) u(corr, type, ms, flags, payload, headers)
 where (select case when $3 and not trunkline._request_served($2) then false
                    else trunkline._door_ring($2 & 63) is not null end)
returning id
