-- The events of a batch that lies in one segment, in any order: what _stream_window does when the oldest transaction in
-- progress was near its end. $1 and $2 the xids between which to look, $3 and $4 the snapshots, as texts; $5 and $6 the ids
-- after and to which, the latter null for all. Most xids are told by a comparison, and no look into a snapshot.
select id, at, type, key, content, payload, headers
  from trunkline.stream_event_0
 where xid >= (select $1::text::xid8) and xid < (select $2::text::xid8)
   and (xid < (select pg_snapshot_xmin($4::text::pg_snapshot)) or pg_visible_in_snapshot(xid, (select $4::text::pg_snapshot)))
   and (xid >= (select pg_snapshot_xmax($3::text::pg_snapshot)) or not pg_visible_in_snapshot(xid, (select $3::text::pg_snapshot)))
   and id > $5 and ($6 is null or id <= $6)
