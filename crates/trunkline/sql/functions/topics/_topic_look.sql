-- A look at the ring: what is in the window (since, upto] after the message (past_xid, past_id), by (xid, id); `upto` null is up to
-- now. At most `most` messages and some 4 MiB: who gets as many asks again, with the `seen` of this look as upto, from the last one
-- on. A first row without an id tells what this look sees, when, the ring's incarnation, how many segments were emptied by now, and
-- whether somebody who has seen `since` may have missed what was in them. A null `since` asks for that row alone.
-- names, pattern: of which topics; null names is all. Guarantee: each committed message in the ring is in exactly one window.
-- The lock comes before the snapshot: a segment emptied between them would be missed without a word. Locks: readers', for the look.
create or replace function trunkline._topic_look(since pg_snapshot, upto pg_snapshot, past_xid xid8, past_id bigint, names text[],
                                                 pattern text, most int)
returns table (seen pg_snapshot, at timestamptz, incarnation bigint, empties bigint, missed boolean,
               id bigint, xid xid8, topic text, sent_at timestamptz, sender uuid, content smallint, payload bytea, headers text,
               message_id text)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_near boolean := trunkline._log_near($1);
    v_from xid8 := case when v_near then pg_snapshot_xmin($1) else pg_snapshot_xmax($1) end;
    v_past bigint := case when $3 >= v_from then $4 else -1 end;   -- with v_from the one lower bound: the index takes no second one
    v_at   timestamptz;                        -- before the snapshot: what that does not see was committed later
    v_old  xid8[] := case when not v_near then array(select x from pg_snapshot_xip($1) x where x >= $3) end;
begin
    v_from := greatest(v_from, $3);
    if not exists (select from trunkline.topic_ring) then
        perform trunkline._topic_begin();
    end if;
    lock table trunkline.topic_message in access share mode;
    v_at := clock_timestamp();
    return query
    select pg_current_snapshot(), v_at, r.incarnation, r.empties, coalesce(not trunkline._topic_covers($1, r.emptied), false),
           null::bigint, null::xid8, null::text, null::timestamptz, null::uuid, null::smallint, null::bytea, null::text, null::text
      from trunkline.topic_ring r
    union all
    select null, null, null, null, null, m.id, m.xid, m.topic, m.sent_at, m.sender, m.content, m.payload, m.headers, m.message_id
      from (select p.*, sum(octet_length(p.payload)) over (order by p.xid, p.id) - octet_length(p.payload) as before
              from (select * from (
                        (select * from trunkline.topic_message m
                          where (m.xid, m.id) > (v_from, v_past) and not pg_visible_in_snapshot(m.xid, $1)
                            and ($2 is null or pg_visible_in_snapshot(m.xid, $2))
                            and ($5 is null or m.topic = any ($5) or m.topic ~ $6)
                          order by m.xid, m.id limit $7)
                        union all
                        (select m.* from unnest(v_old) x cross join lateral (
                             select * from trunkline.topic_message m
                              where m.xid = x and (m.xid, m.id) > ($3, $4)
                                and ($2 is null or pg_visible_in_snapshot(m.xid, $2))
                                and ($5 is null or m.topic = any ($5) or m.topic ~ $6)
                              order by m.xid, m.id limit $7) m)) a
                     order by a.xid, a.id limit $7) p) m
     where m.before < 4194304 and $1 is not null;
end $$;
