-- As job_list, for pages that many look at: the newest jobs, at most `max`; of a queue, in a state, of a kind, with a key, with a JSON
-- payload that contains this, and with an id below `before`, each where given.
-- What it reads: of the rings each id once, and what the slices say of those on the page; of held jobs the newest until enough fit.
-- Errors: 42704 no such queue; 22023 no such state, or max is not from 1 to 1000.
create or replace function trunkline.job_page(queue text default null, state text default null, kind text default null,
    key text default null, max int default 50, before bigint default null, payload jsonb default null)
returns table (id bigint, queue_name text, job_kind text, job_state text, priority int, job_key text, attempt int,
               max_attempts int, pushed_at timestamptz, due_at timestamptz, begun_at timestamptz, ended_at timestamptz,
               worker text, error text)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp set jit = off as $$
#variable_conflict use_column
declare
    v_queue int := case when job_page.queue is not null then (trunkline._job_named(job_page.queue)).id end;
    v_ring  boolean := job_page.key is null and (job_page.state is null or job_page.state in ('waiting', 'running', 'done', 'cancelled'));
    v_now   timestamptz := clock_timestamp();
begin
    if job_page.state not in ('waiting', 'scheduled', 'running', 'retrying', 'done', 'dead', 'cancelled') then
        raise exception 'there is no state "%" of a job', left(job_page.state, 100) using errcode = '22023';
    elsif job_page.max is null or job_page.max not between 1 and 1000 then
        raise exception 'max must be from 1 to 1000, got %', job_page.max using errcode = '22023';
    end if;
    return query
    with held as (
        select h.id, h.lane, h.kind,
               case h.state when 1 then 'running' when 2 then 'dead' when 3 then 'cancelled' when 4 then 'done' when 5 then 'waiting'
                    else case when h.attempt > 0 then 'retrying' when h.due_at > v_now then 'scheduled' else 'waiting' end end as state,
               h.attempt, h.max_attempts, h.at, h.due_at, h.begun_at, h.ended_at, h.session, h.key, h.errors -> -1 ->> 'error' as error
          from trunkline.job_held h
         where (v_queue is null or h.lane between v_queue * 16 and v_queue * 16 + 15)
           and (job_page.before is null or h.id < job_page.before) and (job_page.key is null or h.key = job_page.key)
           and (job_page.kind is null or h.kind = job_page.kind)
           and case job_page.state when 'running' then h.state = 1 when 'dead' then h.state = 2 when 'cancelled' then h.state = 3
                    when 'done' then h.state = 4 when 'retrying' then h.state = 0 and h.attempt > 0
                    when 'scheduled' then h.state = 0 and h.attempt = 0 and h.due_at > v_now
                    when 'waiting' then h.state = 5 or h.state = 0 and h.attempt = 0 and h.due_at <= v_now else true end
           and (job_page.payload is null
                or h.content = 2 and trunkline._request_headers(trunkline._request_text(h.payload)) @> job_page.payload)
         order by h.id desc limit job_page.max
    ), picked as (
        select * from held
        union all
        select r.* from trunkline._job_page_e0(v_queue, job_page.state, job_page.kind, job_page.payload, job_page.before, job_page.max) r
         where v_ring
        union all
        select r.* from trunkline._job_page_e1(v_queue, job_page.state, job_page.kind, job_page.payload, job_page.before, job_page.max) r
         where v_ring
        union all
        select r.* from trunkline._job_page_d0(v_queue, job_page.state, job_page.kind, job_page.payload, job_page.before, job_page.max) r
         where v_ring
        union all
        select r.* from trunkline._job_page_d1(v_queue, job_page.state, job_page.kind, job_page.payload, job_page.before, job_page.max) r
         where v_ring
         order by id desc limit job_page.max)
    select p.id, q.name, p.kind, p.state, p.lane & 15, p.key, p.attempt, p.max_attempts, p.at, p.due_at, p.begun_at, p.ended_at,
           s.application, p.error
      from picked p
      join trunkline.job_queue q on q.id = p.lane >> 4
      left join trunkline.session s on s.id = p.session and p.state = 'running'
     order by p.id desc;
end $$;
