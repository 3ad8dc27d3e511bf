-- The events of a part of a large window, in any order, from where they are: what _stream_stretch does. Nothing when the
-- file is another by now. $1 the file, $2 and $3 the first row and the last, $4 and $5 the snapshots, as texts; $6 and $7
-- the ids after and to which, the latter null for all. Most xids are told by a comparison, and no look into a snapshot.
select id, at, type, key, content, payload, headers
  from trunkline.stream_event_0
 where (select pg_relation_filenode('trunkline.stream_event_0') = $1)
   and ctid >= (select $2::text::tid) and ctid <= (select $3::text::tid)
   and (xid < (select pg_snapshot_xmin($5::text::pg_snapshot)) or pg_visible_in_snapshot(xid, (select $5::text::pg_snapshot)))
   and (xid >= (select pg_snapshot_xmax($4::text::pg_snapshot)) or not pg_visible_in_snapshot(xid, (select $4::text::pg_snapshot)))
   and id > $6 and ($7 is null or id <= $7)
