-- A look at the ring in the usual case: the short way of _topic_look, in one statement. $1 since, which is near; $2 and $3 the xid and id
-- after which to read; $4 names, null for all, $5 pattern; $6 most. No rows: there is no ring yet, ask the function.
-- The lock comes before the snapshot here too: a statement that is bound locks its tables, and then takes the snapshot that it reads by
-- (exec_bind_message in PostgreSQL 15 to 18; a test waits for a segment that is being emptied). now() is when it came, before both.
select pg_current_snapshot() as seen, now() as at, r.incarnation, r.empties,
       coalesce(pg_snapshot_xmin($1) < pg_snapshot_xmax(r.emptied)
                and (pg_snapshot_xmax($1) < pg_snapshot_xmax(r.emptied)
                     or exists (select from pg_snapshot_xip($1) x where pg_visible_in_snapshot(x, r.emptied))), false) as missed,
       null::bigint as id, null::xid8 as xid, null::text as topic, null::timestamptz as sent_at, null::uuid as sender,
       null::smallint as content, null::bytea as payload, null::text as headers, null::text as message_id
  from trunkline.topic_ring r
union all
select null, null, null, null, null, m.id, m.xid, m.topic, m.sent_at, m.sender, m.content, m.payload, m.headers, m.message_id
  from (select p.*, sum(octet_length(p.payload)) over (order by p.xid, p.id) - octet_length(p.payload) as before
          from (select m.id, m.xid, m.topic, m.sent_at, m.sender, m.content, m.payload, m.headers, m.message_id
                  from trunkline.topic_message m
                 where (m.xid, m.id) > ($2, $3) and not pg_visible_in_snapshot(m.xid, $1)
                   and ($4 is null or m.topic = any ($4) or m.topic ~ $5)
                 order by m.xid, m.id limit $6) p) m
 where m.before < 4194304 and exists (select from trunkline.topic_ring)
