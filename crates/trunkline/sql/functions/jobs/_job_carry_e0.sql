-- Moves what runs in a segment to where jobs are held, running there, in the same hands with the same tokens: so that the segment
-- can be emptied while a job takes hours. How many. Their holder's next part is refused, and it then ends them there.
create or replace function trunkline._job_carry_e0() returns int
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_slice trunkline.job_slice_e0;
    v_open  int[];
    v_sum   int := 0;
begin
    for v_slice in select s.* from trunkline.job_slice_e0 s where s.ids <> '{}' and s.session <> 0 loop
        v_open := trunkline._job_close_e0(v_slice.id);
        continue when v_open = '{}';
        with ended as (
            insert into trunkline.job_end_e0 (slice, slot, state)
            select v_slice.id, u.slot, 1 from unnest(v_open) u(slot) on conflict do nothing
            returning slot)
        insert into trunkline.job_held (id, lane, state, due_at, attempt, max_attempts, session, token, begun_at, at, content,
                                        kind, payload, headers)
        select j.id, j.lane, 1, j.at, 1, coalesce(nullif(j.flags >> 8, 0), q.max_attempts), v_slice.session, v_slice.token,
               v_slice.taken_at, j.at, (j.flags & 3)::smallint, j.kind, j.payload, j.headers
          from ended e
         cross join lateral (
              select * from trunkline.job_e0 j
               where j.lane = v_slice.lane and (j.xid, j.id) >= (v_slice.from_xid, v_slice.ids[1])
                 and (j.xid, j.id) <= (v_slice.upto_xid, v_slice.ids[cardinality(v_slice.ids)])
                 and j.id = v_slice.ids[e.slot] limit 1) j
          join trunkline.job_queue q on q.id = j.lane >> 4;
        v_sum := v_sum + cardinality(v_open);
    end loop;
    return v_sum;
end $$;
