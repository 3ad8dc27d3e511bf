-- The newest jobs of a segment that fit each of these, where given: see job_page; the `many` newest by id at least, if there are so
-- many. A job that went to where jobs are held is none of the segment's. With a deadline: what was found until then, and a row
-- without a state that names the id below which it has not looked.
-- Reads the segment from its end, where the newest lie, by stretches, until enough fit, and one stretch more: an id is drawn before its
-- row is written, so a few lie out of order, never so far as 64 pages. Of each it picks rows first, and looks at the states of four
-- times as many as are wanted; only where that does not do, at all of them. What is taken is known by the slices that were taken
-- since the stretch was begun. Who asks for a state that nothing here can have reads nothing.
create or replace function trunkline._job_page_e0(queue int, state text, kind text, payload jsonb, containing bytea, since timestamptz,
    until timestamptz, before bigint, many int, deadline timestamptz)
returns table (id bigint, lane int, job_kind text, job_state text, attempt int, max_attempts int, at timestamptz, due_at timestamptz,
               begun_at timestamptz, ended_at timestamptz, session int, key text, error text)
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp set jit = off
set hash_mem_multiplier = 1000 as $$
#variable_conflict use_column
declare
    v_below bigint;
    v_upto  bigint := trunkline._job_page_upto_e0(_job_page_e0.before, _job_page_e0.until);
    v_from  bigint;
    v_step  bigint := 256;
    v_began timestamptz;
    v_begun timestamptz;
    v_have  int := 0;
    v_left  int;
    v_last  boolean := false;
    v_xids  xid8[];
    v_ids   bigint[];
    v_rows  tid[];
    v_pick  int;
    v_got   int;
begin
    if _job_page_e0.state in ('running', 'done') and not exists (select from trunkline.job_slice_e0)
       or _job_page_e0.state = 'cancelled' and not exists (select from trunkline.job_cancel) then
        return;
    end if;
    if deadline is not null and v_upto > 0 then     -- payloads are read: 8 MiB at first
        v_step := least(64, greatest(1, (8 << 20) * v_upto / greatest(1, pg_table_size('trunkline.job_e0'))));
    end if;
    while v_upto > 0 and not v_last loop
        v_last := v_have >= many or coalesce(v_begun < _job_page_e0.since, false);
        v_began := clock_timestamp();
        v_left := many;
        v_below := coalesce(_job_page_e0.before, 9223372036854775807);
        v_from := greatest(v_upto - case when v_last then 64 else v_step end, 0);
        select min(j.at) - interval '1 minute' into v_begun from trunkline.job_e0 j
         where j.ctid >= format('(%s,0)', v_from)::tid and j.ctid < format('(%s,0)', v_from + 16)::tid;
        if _job_page_e0.state is not null then
            select array[min(j.xid), max(j.xid)], array[min(j.id), max(j.id)] into v_xids, v_ids from trunkline.job_e0 j
             where j.ctid >= format('(%s,0)', v_from)::tid and j.ctid < format('(%s,0)', v_upto)::tid;
        end if;
        foreach v_pick in array array[many * 4, 2147483647] loop
            v_rows := array(
                select j.ctid from trunkline.job_e0 j
                 where j.ctid >= format('(%s,0)', v_from)::tid and j.ctid < format('(%s,0)', v_upto)::tid
                   and j.id < v_below and (_job_page_e0.kind is null or j.kind = _job_page_e0.kind)
                   and (_job_page_e0.queue is null or j.lane between _job_page_e0.queue * 16 and _job_page_e0.queue * 16 + 15)
                   and (_job_page_e0.since is null or j.at >= _job_page_e0.since)
                   and (_job_page_e0.until is null or j.at < _job_page_e0.until)
                   and case when position(_job_page_e0.containing in j.payload) = 0 then false
                            when _job_page_e0.payload is not null and (j.flags & 3 <> 2
                                 or (trunkline._request_headers(trunkline._request_text(j.payload)) @> _job_page_e0.payload) is not true)
                            then false
                            when _job_page_e0.state = 'running' then j.id in (
                                 select unnest(s.ids) from trunkline.job_slice_e0 s
                                  where not exists (select from trunkline.job_done_e0 d
                                                     where d.slice = s.id and (d.closed or d.slots is null)))
                            when _job_page_e0.state is not null then (_job_page_e0.state = 'done') = (j.id in (
                                 select u.id from trunkline.job_slice_e0 s cross join lateral unnest(s.ids) u(id)
                                  where (v_begun is null or s.taken_at >= v_begun) and s.upto_xid >= v_xids[1] and s.from_xid <= v_xids[2]
                                    and u.id between v_ids[1] and v_ids[2]))
                            else true end
                 order by j.id desc limit v_pick);
            exit when cardinality(v_rows) = 0;
            return query
            select r.* from trunkline._job_page_states_e0(v_rows, v_begun) r
             where _job_page_e0.state is null or r.job_state = _job_page_e0.state
             order by r.id desc limit v_left;
            get diagnostics v_got = row_count;
            v_have := v_have + v_got;
            v_left := v_left - v_got;
            exit when v_left <= 0 or cardinality(v_rows) < v_pick;
            select j.id into v_below from trunkline.job_e0 j where j.ctid = v_rows[cardinality(v_rows)];
        end loop;
        v_upto := v_from;
        if deadline is null then
            v_step := least(v_step * 2, 4096);
        else
            v_step := case when clock_timestamp() - v_began > interval '10 ms' then greatest(v_step / 2, 1)
                           else least(v_step * 2, 4096) end;
            if clock_timestamp() > deadline and v_upto > 0 and not v_last and v_have < many then
                select min(j.id) into v_below from trunkline.job_e0 j
                 where j.ctid >= format('(%s,0)', v_upto + 64)::tid and j.ctid < format('(%s,0)', v_upto + 80)::tid;
                if v_below < coalesce(_job_page_e0.before, 9223372036854775807) then
                    id := v_below;
                    at := v_begun + interval '1 minute';
                    return next;
                    return;
                end if;
            end if;
        end if;
    end loop;
end $$;
