-- The newest jobs of a segment that fit each of these, where given: see job_page; the `many` newest by id at least, if there are so
-- many. A job that went to where jobs are held is none of the segment's.
-- Reads the segment from its end, where the newest lie, by stretches, until enough fit, and one stretch more: an id is drawn before its
-- row is written, so a few lie out of order, never so far. Of each it picks rows first, and looks at the states of four times as
-- many as are wanted; only where that does not do, at all of them. What is taken is known by the slices that were taken since
-- the stretch was begun. Who asks for a state that nothing here can have reads nothing.
create or replace function trunkline._job_page_e0(queue int, state text, kind text, payload jsonb, before bigint, many int)
returns table (id bigint, lane int, job_kind text, job_state text, attempt int, max_attempts int, at timestamptz, due_at timestamptz,
               begun_at timestamptz, ended_at timestamptz, session int, key text, error text)
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp set jit = off as $$
#variable_conflict use_column
declare
    v_below bigint;
    v_upto  bigint := pg_relation_size('trunkline.job_e0') / current_setting('block_size')::int;   -- pages
    v_from  bigint;
    v_step  bigint := 256;
    v_begun timestamptz;
    v_have  int := 0;
    v_left  int;
    v_last  boolean := false;
    v_rows  tid[];
    v_pick  int;
    v_got   int;
begin
    if _job_page_e0.state in ('running', 'done') and not exists (select from trunkline.job_slice_e0)
       or _job_page_e0.state = 'cancelled' and not exists (select from trunkline.job_cancel) then
        return;
    end if;
    while v_upto > 0 and not v_last loop
        v_last := v_have >= many;
        v_left := many;
        v_below := coalesce(_job_page_e0.before, 9223372036854775807);
        v_from := greatest(v_upto - v_step, 0);
        select min(j.at) - interval '1 minute' into v_begun from trunkline.job_e0 j
         where j.ctid >= format('(%s,0)', v_from)::tid and j.ctid < format('(%s,0)', v_from + 16)::tid;
        foreach v_pick in array array[many * 4, 2147483647] loop
            v_rows := array(
                select j.ctid from trunkline.job_e0 j
                 where j.ctid >= format('(%s,0)', v_from)::tid and j.ctid < format('(%s,0)', v_upto)::tid
                   and j.id < v_below and (_job_page_e0.kind is null or j.kind = _job_page_e0.kind)
                   and (_job_page_e0.queue is null or j.lane between _job_page_e0.queue * 16 and _job_page_e0.queue * 16 + 15)
                   and (_job_page_e0.payload is null
                        or j.flags & 3 = 2 and trunkline._request_headers(trunkline._request_text(j.payload)) @> _job_page_e0.payload)
                   and case when _job_page_e0.state = 'running' then j.id in (
                                 select unnest(s.ids) from trunkline.job_slice_e0 s
                                  where not exists (select from trunkline.job_done_e0 d
                                                     where d.slice = s.id and (d.closed or d.slots is null)))
                            when _job_page_e0.state is not null then (_job_page_e0.state = 'done') = (j.id in (
                                 select unnest(s.ids) from trunkline.job_slice_e0 s where v_begun is null or s.taken_at >= v_begun))
                            else true end
                 order by j.id desc limit v_pick);
            return query
            select s.* from (
                select j.id, j.lane, j.kind,
                       case when t.slice is null then case when c.id is null then 'waiting' else 'cancelled' end
                            when e.state = 0 or d.at is not null then 'done' else 'running' end as state,
                       (t.slice is not null)::int, coalesce(nullif(j.flags >> 8, 0), q.max_attempts), j.at, j.at, t.taken_at,
                       coalesce(e.at, d.at, case when t.slice is null then c.at end), t.session, null::text, null::text
                  from trunkline.job_e0 j
                  join trunkline.job_queue q on q.id = j.lane >> 4
                  left join (select s.id as slice, s.session, s.taken_at, u.id, u.slot::int as slot
                               from trunkline.job_slice_e0 s cross join lateral unnest(s.ids) with ordinality u(id, slot)
                              where v_begun is null or s.taken_at >= v_begun) t on t.id = j.id
                  left join trunkline.job_end_e0 e on e.slice = t.slice and e.slot = t.slot
                  left join trunkline.job_done_e0 d
                    on d.slice = t.slice and (d.slots is null or octet_length(d.slots) * 8 >= t.slot and get_bit(d.slots, t.slot - 1) = 1)
                  left join trunkline.job_cancel c on c.id = j.id
                 where j.ctid = any (v_rows) and e.state is distinct from 1 and d.closed is not true) s
             where _job_page_e0.state is null or s.state = _job_page_e0.state
             order by s.id desc limit v_left;
            get diagnostics v_got = row_count;
            v_have := v_have + v_got;
            v_left := v_left - v_got;
            exit when v_left <= 0 or cardinality(v_rows) < v_pick;
            select j.id into v_below from trunkline.job_e0 j where j.ctid = v_rows[cardinality(v_rows)];
        end loop;
        v_upto := v_from;
        v_step := least(v_step * 2, 4096);
    end loop;
end $$;
