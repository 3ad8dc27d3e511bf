-- The jobs of a segment with their states, those that went to where jobs are held left out. one: only this id; queue: only of
-- this one; each may be null. Reads all of the segment, but for one id: joins by hash, since nothing is ever analyzed here.
create or replace function trunkline._job_rows_e0(one bigint, queue int)
returns table (id bigint, lane int, state text, attempt int, max_attempts int, at timestamptz, begun_at timestamptz,
               ended_at timestamptz, session int, content int, kind text, payload bytea, headers text, result_content int,
               result bytea)
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp
set enable_nestloop = off set enable_mergejoin = off set jit = off as $$
#variable_conflict use_column
declare
    v_in bigint[] := case when one is not null then array(select s.id from trunkline.job_slice_e0 s where one = any (s.ids)) end;
begin
    return query
    select j.id, j.lane,
           case when t.slice is null then case when c.id is null then 'waiting' else 'cancelled' end
                when e.state = 0 or d.at is not null then 'done' else 'running' end,
           (t.slice is not null)::int, coalesce(nullif(j.flags >> 8, 0), q.max_attempts), j.at, t.taken_at,
           coalesce(e.at, d.at, case when t.slice is null then c.at end), t.session, j.flags & 3, j.kind, j.payload, j.headers,
           e.content::int, e.result
      from trunkline.job_e0 j
      join trunkline.job_queue q on q.id = j.lane >> 4
      left join (select s.id as slice, s.session, s.taken_at, u.id, u.slot::int as slot
                   from trunkline.job_slice_e0 s cross join lateral unnest(s.ids) with ordinality u(id, slot)
                  where (v_in is null or s.id = any (v_in)) and (_job_rows_e0.queue is null or s.lane >> 4 = _job_rows_e0.queue)) t
        on t.id = j.id
      left join trunkline.job_end_e0 e on e.slice = t.slice and e.slot = t.slot and (v_in is null or e.slice = any (v_in))
      left join trunkline.job_done_e0 d
        on d.slice = t.slice and (d.slots is null or octet_length(d.slots) * 8 >= t.slot and get_bit(d.slots, t.slot - 1) = 1)
      left join trunkline.job_cancel c on c.id = j.id
     where (one is null or j.id = one) and (_job_rows_e0.queue is null or j.lane >> 4 = _job_rows_e0.queue)
       and e.state is distinct from 1 and d.closed is not true;
end $$;
