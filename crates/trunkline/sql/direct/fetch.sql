-- The endings and parts for a session that came after a snapshot, as _request_fetch_e0 reads them. $1 session, $2 since,
-- $3 xmin(since), which is near.
select pg_current_snapshot(), e.id, e.corr, e.attempt, e.part, e.status, e.content, e.code, e.payload, e.headers
  from trunkline.ending_e0 e
 where e.caller = $1 and e.xid >= $3 and not pg_visible_in_snapshot(e.xid, $2)
