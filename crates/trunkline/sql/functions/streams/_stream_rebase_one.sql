-- Numbers a stream's ticks and events anew where the xids they hold are still to come in this cluster: of the ticks that are
-- kept, the n-th becomes the snapshot `3+n:3+n:`, and each event gets the xid just below that of the first tick that saw it,
-- so every window between two of them holds what it held. What no tick saw comes after the last. Such old xids are free: all
-- that had them has ended. There may be fewer of them than ticks: all that are a consumer's position are kept, and of
-- the others each so many-th, so that time and place of a replay get coarser and nothing else.
-- Errors: 54000 when a cluster is so young that it has fewer xids behind it than there are positions.
create or replace function trunkline._stream_rebase_one(stream int) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_now  xid8 := pg_snapshot_xmin(pg_current_snapshot());
    v_room bigint := v_now::text::bigint - 4;
    v_own  int := _stream_rebase_one.stream * 4;
    v_high xid8 := (select e.xid from trunkline.stream_event e where e.segment between v_own and v_own + 2 order by e.xid desc limit 1);
    v_need bigint[];
    v_ids  bigint[];
    v_seen pg_snapshot[];
    v_ends xid8[];
    v_last trunkline.stream_tick;
begin
    select * into v_last from trunkline.stream_tick t where t.stream = _stream_rebase_one.stream order by t.id desc limit 1;
    if pg_snapshot_xmax(v_last.seen) <= v_now and (v_high is null or v_high < v_now) then
        return;
    end if;
    v_need := trunkline._stream_positions(stream);
    if cardinality(v_need) > v_room then
        raise exception 'stream % has % positions, and this cluster only % transactions behind it', stream, cardinality(v_need), v_room
            using errcode = '54000', hint = 'run some transactions that write, and the repair again';
    end if;
    select array_agg(t.id order by t.id), array_agg(t.seen order by t.id), array_agg(pg_snapshot_xmax(t.seen) order by t.id)
      into v_ids, v_seen, v_ends
      from (select t.id, t.seen, row_number() over (order by t.id) as n, count(*) over () as of
              from trunkline.stream_tick t
             where t.stream = _stream_rebase_one.stream
               and t.id >= (select s.first_tick from trunkline.stream s where s.id = t.stream)) t
     where t.id = any (v_need) or t.n % (t.of / greatest(v_room - cardinality(v_need), 1) + 1) = 0;
    update trunkline.stream_event e
       set xid = (2 + r.rank)::text::xid8
      from (select d.xid, trunkline._stream_rank(d.xid, v_seen, v_ends) as rank
              from (select distinct e.xid from trunkline.stream_event e where e.segment between v_own and v_own + 2) d) r
     where e.segment between v_own and v_own + 2 and e.xid = r.xid;
    update trunkline.stream_tick t
       set seen = format('%1$s:%1$s:', 3 + k.n)::pg_snapshot, events = k.events, bytes = k.bytes, segments = k.segments
      from (select o.id, o.n, sum(w.events) as events, sum(w.bytes) as bytes, bit_or(w.segments) as segments
              from (select u.id, u.n, lag(u.id, 1, 0::bigint) over (order by u.n) as before
                      from unnest(v_ids) with ordinality u(id, n)) o
              join trunkline.stream_tick w on w.stream = _stream_rebase_one.stream and w.id > o.before and w.id <= o.id
             group by o.id, o.n) k
     where t.stream = _stream_rebase_one.stream and t.id = k.id;
    delete from trunkline.stream_tick t where t.stream = _stream_rebase_one.stream and t.id <> all (v_ids);
end $$;
