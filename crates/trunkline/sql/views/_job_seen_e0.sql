-- The jobs of a segment with their states, those that went to where jobs are held left out: see the view job.
-- As _job_rows_e0, which gives the same to our own functions. Reads which jobs each slice has, also for one id.
create or replace view trunkline._job_seen_e0 as
select j.id, j.lane, j.kind, j.at, t.taken_at as begun_at, coalesce(e.at, d.at, case when t.slice is null then c.at end) as ended_at,
       case when t.slice is null then case when c.id is null then 'waiting' else 'cancelled' end
            when e.state = 0 or d.at is not null then 'done' else 'running' end as state,
       t.session, j.flags & 3 as content, j.flags >> 8 as max_attempts, j.payload, j.headers, e.content::int as result_content, e.result
  from trunkline.job_e0 j
  left join (select s.id as slice, s.session, s.taken_at, u.id, u.slot::int as slot
               from trunkline.job_slice_e0 s cross join lateral unnest(s.ids) with ordinality u(id, slot)) t on t.id = j.id
  left join trunkline.job_end_e0 e on e.slice = t.slice and e.slot = t.slot
  left join trunkline.job_done_e0 d
    on d.slice = t.slice and (d.slots is null or octet_length(d.slots) * 8 >= t.slot and get_bit(d.slots, t.slot - 1) = 1)
  left join trunkline.job_cancel c on c.id = j.id
 where e.state is distinct from 1 and d.closed is not true;
