-- The events of a part of a large window, by id, from where they are: what _stream_stretch does. Nothing when the file is
-- another by now. $1 the file, $2 and $3 the first row and the last, $4 and $5 the snapshots, as texts; $6 and $7 the ids
-- after and to which, the latter null for all.
select id, at, type, key, content, payload, headers
  from trunkline.stream_event_0
 where (select pg_relation_filenode('trunkline.stream_event_0') = $1)
   and ctid >= (select $2::text::tid) and ctid <= (select $3::text::tid)
   and pg_visible_in_snapshot(xid, (select $5::text::pg_snapshot))
   and not pg_visible_in_snapshot(xid, (select $4::text::pg_snapshot))
   and id > $6 and ($7 is null or id <= $7)
 order by id
