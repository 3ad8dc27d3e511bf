-- How many more jobs of a queue with a limit may be taken now: by its max_running (room), counting what runs, held or in its ring;
-- and by its rate_limit (rate). Null where somebody else holds the queue's advisory lock just now, under which this is decided.
-- What it takes the caller notes in job_limited by `turn` and `since`, null where nothing need be noted.
-- One statement counts both places, or what _job_carry moves meanwhile would be in neither; it names both segments, so that it waits
-- for one that is being emptied before it looks, and not after. Of a slice what its parts say is done does not run, nor what ended by
-- itself or went elsewhere. Slices of which nothing runs are forgotten, but for the newest, which says where to begin.
-- Locks: the queue's, to the commit.
create or replace function trunkline._job_room_e(queue int, out room int, out rate int, out turn bigint, out since bigint)
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_queue trunkline.job_queue;
    v_last  trunkline.job_limited;
    v_first bigint;
    v_runs  int;
    v_over  bigint[];
begin
    if not pg_try_advisory_xact_lock(1953656433, queue) then
        return;
    end if;
    select * into v_queue from trunkline.job_queue q where q.id = _job_room_e.queue;     -- as it is under the lock
    room := 2147483647;
    rate := 2147483647;
    if v_queue.rate_limit > 0 then
        rate := greatest(v_queue.rate_limit - trunkline._job_begun(queue, '', v_queue.rate_period), 0);
    end if;
    if v_queue.max_running = 0 then
        return;
    end if;
    select * into v_last from trunkline.job_limited l where l.queue = _job_room_e.queue order by l.turn desc limit 1;
    with taken as materialized (
        select l.turn, greatest(s.many - d.done - e.ended, 0) * (not d.over)::int as runs
          from trunkline.job_limited l
         cross join lateral (
              select coalesce(max(x.many), 0) as many
                from (select cardinality(s.ids) as many from trunkline.job_slice_e0 s where s.id = l.slice and s.lane >> 4 = l.queue
                      union all
                      select cardinality(s.ids) from trunkline.job_slice_e1 s where s.id = l.slice and s.lane >> 4 = l.queue) x) s
         cross join lateral (
              select coalesce(bool_or(x.slots is null), false) as over, coalesce(sum(bit_count(x.slots)), 0) as done
                from (select d.slots from trunkline.job_done_e0 d where d.slice = l.slice
                      union all
                      select d.slots from trunkline.job_done_e1 d where d.slice = l.slice) x) d
         cross join lateral (
              select count(*) as ended
                from (select e.slot from trunkline.job_end_e0 e where e.slice = l.slice
                         and not exists (select from trunkline.job_done_e0 d
                                          where d.slice = e.slice and octet_length(d.slots) * 8 >= e.slot
                                            and get_bit(d.slots, e.slot - 1) = 1)
                      union all
                      select e.slot from trunkline.job_end_e1 e where e.slice = l.slice
                         and not exists (select from trunkline.job_done_e1 d
                                          where d.slice = e.slice and octet_length(d.slots) * 8 >= e.slot
                                            and get_bit(d.slots, e.slot - 1) = 1)) x) e
         where l.queue = _job_room_e.queue and l.turn >= v_last.since
    )
    select coalesce(sum(t.runs), 0) + (select count(*) from trunkline.job_held h where h.lane >> 4 = _job_room_e.queue and h.state = 1),
           min(t.turn) filter (where t.runs > 0), array_agg(t.turn) filter (where t.runs = 0 and t.turn < v_last.turn)
      into v_runs, v_first, v_over
      from taken t;
    if v_over is not null then
        delete from trunkline.job_limited l where l.queue = _job_room_e.queue and l.turn = any (v_over);
    end if;
    turn := coalesce(v_last.turn, 0) + 1;
    since := coalesce(v_first, turn);
    room := greatest(v_queue.max_running - v_runs, 0);
end $$;
