-- Dead jobs in groups: by queue, kind, and the first line of the last error, numbers in it left out; how many, when the first and
-- the last of them died, and the newest one's id and error. Of one queue or (null) of all; at most `max` groups, the largest first,
-- and those after a group of so many jobs with that newest id where `below` says it.
-- Reads all dead jobs. Errors: 42704 no such queue.
create or replace function trunkline.job_dead(queue text default null, max int default 100, below bigint[] default null)
returns table (queue_name text, job_kind text, cause text, many bigint, first_at timestamptz, last_at timestamptz, last_id bigint,
               error text)
language plpgsql stable security definer set search_path = pg_catalog, trunkline, pg_temp set jit = off as $$
#variable_conflict use_column
declare
    v_queue int := case when job_dead.queue is not null then (trunkline._job_named(job_dead.queue)).id end;
begin
    return query
    select q.name, g.kind, g.cause, g.many, g.first_at, g.last_at, g.last_id, left(h.errors -> -1 ->> 'error', 2000)
      from (select h.lane >> 4 as queue, h.kind, regexp_replace(split_part(left(h.errors -> -1 ->> 'error', 200), chr(10), 1), '[0-9]+',
                   '#', 'g') as cause, count(*) as many, min(h.ended_at) as first_at, max(h.ended_at) as last_at, max(h.id) as last_id
              from trunkline.job_held h
             where h.state in (2, 3, 4) and h.state = 2 and (v_queue is null or h.lane >> 4 = v_queue)
             group by 1, 2, 3
            having job_dead.below is null or array[count(*), max(h.id)] < job_dead.below
             order by 4 desc, 7 desc limit job_dead.max) g
      join trunkline.job_queue q on q.id = g.queue
      join trunkline.job_held h on h.id = g.last_id
     order by g.many desc, g.last_id desc;
end $$;
