-- Reads what was published on volatile topics, over any connection: the messages of names and wildcards (`orders.*`, `orders.>`), in the
-- order of each sender, `max` and some 4 MiB at most. `since`: null for from now on, else the `next` of any row of the call before. There
-- is a row always: one without an id where nothing came, or, first, where some may have been missed between gap_since and gap_until.
-- payload is null for bytes; content is 0 for bytes, 1 text, 2 JSON. Nothing is written: keep `next` with your effects, for exactly once.
-- Guarantee: each committed message comes once, in the order of `next`, or is in a gap. What this transaction has published itself
-- comes after its commit. topic_listen tells when to call again. Errors: 22023, 22004, 54000 for what is none, or out of its limits;
-- TL015 for a topic that is declared, and not as volatile; 25001 outside READ COMMITTED; 55P03 while the ring is emptied, or made, for over
-- two seconds. Locks: readers', to the end of the transaction: the ring keeps what it has while that is open. Where there is none yet,
-- after an installation or a crash, the first to look makes it, and others wait for the end of his transaction.
create or replace function trunkline.topic_read(topics text[], since text default null, max int default 1000)
returns table (next text, gap_since timestamptz, gap_until timestamptz, id bigint, topic text, payload text, bytes bytea, headers jsonb,
               sent_at timestamptz, sender uuid, message_id text, content smallint)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp set lock_timeout = '2s' as $$
#variable_conflict use_column
declare
    v_wanted record;
    v_word   text[];                           -- incarnation, empties, time and snapshot; within a window its end, and the last message
    v_lossy  bigint[];                         -- the ring's incarnation, and how often it had been emptied
    v_at     timestamptz;
    v_seen   pg_snapshot;
    v_end_at timestamptz;
    v_end    pg_snapshot;
    v_xid    xid8 := '0'::xid8;
    v_id     bigint := 0;
    v_within boolean := false;
    v_doors  int[] := coalesce(nullif(current_setting('trunkline.topic_doors', true), ''), '{}')::int[];
    v_found  boolean;
    v_again  boolean := false;
begin
    perform trunkline._check_read_committed('topic_read');
    if topic_read.max is null or topic_read.max not between 1 and 10000 then
        raise exception 'max must be 1 to 10000, got %', coalesce(topic_read.max::text, 'null') using errcode = '22023';
    end if;
    select * into v_wanted from trunkline._topic_wanted(topic_read.topics);
    if topic_read.since is null then
        select array[l.incarnation, l.empties] into v_lossy from trunkline._topic_look(null, null, '0', 0, '{}', null, 1) l;
        v_at := clock_timestamp();                     -- before the snapshot: what that does not see was committed later
        next := concat_ws(' ', v_lossy[1], v_lossy[2], trunkline._topic_micros(v_at), trunkline._log_snapshot(pg_current_snapshot()));
        return next;
        return;
    end if;
    begin
        v_word := case when topic_read.since ~ '^[0-9]+ [0-9]+ [0-9]+ [0-9:,]+( [0-9]+ [0-9:,]+ [0-9]+ [0-9]+)?$'
                       then string_to_array(topic_read.since, ' ') end;
        v_lossy := v_word[1:2]::bigint[];
        v_at := timestamptz 'epoch' + v_word[3]::bigint * interval '1 microsecond';
        v_seen := v_word[4]::pg_snapshot;
        v_within := cardinality(v_word) = 8;
        if v_within then
            v_end_at := timestamptz 'epoch' + v_word[5]::bigint * interval '1 microsecond';
            v_end := v_word[6]::pg_snapshot;
            v_xid := v_word[7]::xid8;
            v_id := v_word[8]::bigint;
        end if;
    exception when data_exception then
        v_word := null;
    end;
    if v_word is null then
        raise exception 'since must be what topic_read gave as next, got % bytes of something else', octet_length(topic_read.since)
            using errcode = '22023';
    end if;
    if pg_snapshot_xmax(coalesce(v_end, v_seen)) > pg_snapshot_xmax(pg_current_snapshot()) then    -- of another cluster
        v_within := false; v_seen := pg_current_snapshot(); v_end := null; v_lossy := '{-1,0}'; v_xid := '0'::xid8; v_id := 0;
    end if;
    loop
        if not v_within then
            v_end_at := clock_timestamp();
            v_end := trunkline._log_snapshot(pg_current_snapshot());
        end if;
        return query
        with looked as materialized (
            select l.* from trunkline._topic_look(v_seen, v_end, v_xid, v_id, v_wanted.names, v_wanted.pattern, topic_read.max) l
        ), ring as (
            select l.at, l.incarnation, l.empties,
                   l.incarnation <> v_lossy[1] or l.missed and l.empties > v_lossy[2] as lossy
              from looked l where l.id is null
        ), page as (
            select count(*) < topic_read.max and coalesce(sum(octet_length(l.payload)), 0) < 4194304 as whole,
                   (array_agg(array[l.xid::text, l.id::text] order by l.xid desc, l.id desc))[1:1] as last
              from looked l where l.id is not null
        ), told as (
            select r.lossy, r.at, concat_ws(' ', r.incarnation, r.empties,
                   case when p.whole then concat_ws(' ', trunkline._topic_micros(v_end_at), v_end)
                        else concat_ws(' ', trunkline._topic_micros(v_at), v_seen, trunkline._topic_micros(v_end_at), v_end,
                                       p.last[1][1], p.last[1][2]) end) as next
              from ring r cross join page p
        )
        select t.next, case when l.id is null then v_at end, case when l.id is null then t.at end, l.id, l.topic,
               case when l.content <> 0 then trunkline._request_text(l.payload) end, l.payload, trunkline._request_headers(l.headers),
               l.sent_at, l.sender, l.message_id, l.content
          from told t cross join looked l
         where l.id is not null or t.lossy
         order by l.id nulls first;
        v_found := found;
        exit when v_found or v_again;
        if v_within then                               -- that was all of the window: on to the next one
            v_within := false; v_at := v_end_at; v_seen := v_end; v_xid := '0'::xid8; v_id := 0;
            continue;
        end if;
        exit when v_doors = '{}';
        v_again := trunkline._topic_doze(v_doors, true) > 0;    -- what was published before that rang nobody
        exit when not v_again;
    end loop;
    if not v_found then
        next := concat_ws(' ', v_lossy[1], v_lossy[2], trunkline._topic_micros(v_end_at), v_end);
        return next;
    elsif v_doors <> '{}' then
        perform trunkline._topic_doze(v_doors, false);
    end if;
end $$;
