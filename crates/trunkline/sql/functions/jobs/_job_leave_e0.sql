-- Moves jobs of slices out of the ring, to be held: to come again, or as dead or cancelled. The places, in the order given, of
-- those that moved: others had ended, or their slice is another's.
-- states: 0 comes again after so many ms (null: by the queue's backoff; dead when it was the last attempt), 2 dead, 3
-- cancelled. attempts: 1 when this attempt counts, else 0. errors: what went wrong, or null.
-- (slice, slot) is unique in job_end: each ends once, at every isolation level. Locks: none beyond the inserts.
create or replace function trunkline._job_leave_e0(slices bigint[], tokens bigint[], slots int[], states int[], delays bigint[],
                                                   attempts int[], errors text[]) returns int[]
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_moved int[];
begin
    with u as materialized (
        select * from unnest(slices, tokens, slots, states, delays, attempts, errors) with ordinality
                      u(slice, token, slot, state, ms, attempt, error, n)
    ), ended as (
        insert into trunkline.job_end_e0 (slice, slot, state)
        select u.slice, u.slot, 1 from u join trunkline.job_slice_e0 s on s.id = u.slice and s.token = u.token
         where s.ids[u.slot] is not null
           and not exists (select from trunkline.job_done_e0 d where d.slice = s.id and not d.closed and d.slots is null)
           and not exists (select from trunkline.job_done_e0 d
                            where d.slice = s.id and not d.closed and octet_length(d.slots) * 8 >= u.slot
                              and get_bit(d.slots, u.slot - 1) = 1)
            on conflict do nothing
        returning slice, slot
    ), held as (
        insert into trunkline.job_held (id, lane, state, due_at, attempt, max_attempts, ended_at, at, content, kind, payload,
                                        headers, errors)
        select j.id, j.lane, x.state, clock_timestamp() + coalesce(u.ms * interval '1 ms', trunkline._job_backoff(j.lane, 1)),
               u.attempt, x.most, case when x.state <> 0 then clock_timestamp() end, j.at, (j.flags & 3)::smallint, j.kind,
               j.payload, j.headers, trunkline._job_errors('[]', 1, u.error)
          from ended e join u on u.slice = e.slice and u.slot = e.slot
          join trunkline.job_slice_e0 s on s.id = e.slice
         cross join lateral (
              select * from trunkline.job_e0 j
               where j.lane = s.lane and (j.xid, j.id) >= (s.from_xid, s.ids[1])
                 and (j.xid, j.id) <= (s.upto_xid, s.ids[cardinality(s.ids)]) and j.id = s.ids[e.slot] limit 1) j
          join trunkline.job_queue q on q.id = j.lane >> 4
         cross join lateral (select coalesce(nullif(j.flags >> 8, 0), q.max_attempts) as most) m
         cross join lateral (
              select m.most, case when u.state <> 0 then u.state
                                  when exists (select from trunkline.job_cancel c where c.id = j.id) then 3
                                  when u.attempt >= m.most then 2 else 0 end as state) x
        returning lane)
    select array_agg(u.n::int) into v_moved from ended e join u on u.slice = e.slice and u.slot = e.slot;
    perform trunkline._door_ring(d.door)
       from (select distinct -65 - (s.lane >> 4 & 63) as door from trunkline.job_slice_e0 s where s.id = any (slices)) d
      where v_moved is not null;
    if exists (select from trunkline.job_wait) then
        perform trunkline._job_tell(array(select s.ids[u.slot] from unnest(slices, slots) u(slice, slot)
                                            join trunkline.job_slice_e0 s on s.id = u.slice));
    end if;
    return coalesce(v_moved, '{}');
end $$;
