-- As job_list, for pages that many look at: the newest jobs, at most `max`; of a queue, in a state, of a kind, with a key, with a JSON
-- payload that contains this, with a payload of which these characters are a part, pushed at `since` or later and before `until`, and
-- with an id below `before`, each where given. What does not end within so long stops there: then a last row, without a state, names
-- the id below which it has not looked, the next `before`, and when jobs were pushed there.
-- What it reads: of the rings each id once, and what the slices say of those on the page; of held jobs the newest until enough fit.
-- Errors: 42704 no such queue; 22023 no such state, or max is not from 1 to 1000.
create or replace function trunkline.job_page(queue text default null, state text default null, kind text default null,
    key text default null, max int default 50, before bigint default null, payload jsonb default null, containing text default null,
    since timestamptz default null, until timestamptz default null, within interval default null)
returns table (id bigint, queue_name text, job_kind text, job_state text, priority int, job_key text, attempt int,
               max_attempts int, pushed_at timestamptz, due_at timestamptz, begun_at timestamptz, ended_at timestamptz,
               worker text, error text)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp set jit = off as $$
#variable_conflict use_column
declare
    v_queue int := case when job_page.queue is not null then (trunkline._job_named(job_page.queue)).id end;
    v_ring  boolean := job_page.key is null and (job_page.state is null or job_page.state in ('waiting', 'running', 'done', 'cancelled'));
    v_now   timestamptz := clock_timestamp();
    v_bytes bytea := convert_to(job_page.containing, 'UTF8');
begin
    if job_page.state not in ('waiting', 'scheduled', 'running', 'retrying', 'done', 'dead', 'cancelled') then
        raise exception 'there is no state "%" of a job', left(job_page.state, 100) using errcode = '22023';
    elsif job_page.max is null or job_page.max not between 1 and 1000 then
        raise exception 'max must be from 1 to 1000, got %', job_page.max using errcode = '22023';
    end if;
    return query
    with found as materialized (     -- one after the other, each with what is left of the time
        select r.* from trunkline._job_page_e0(v_queue, job_page.state, job_page.kind, job_page.payload, v_bytes, job_page.since,
                            job_page.until, job_page.before, job_page.max, v_now + job_page.within * 0.2) r
         where v_ring
        union all
        select r.* from trunkline._job_page_e1(v_queue, job_page.state, job_page.kind, job_page.payload, v_bytes, job_page.since,
                            job_page.until, job_page.before, job_page.max, v_now + job_page.within * 0.4) r
         where v_ring
        union all
        select r.* from trunkline._job_page_d0(v_queue, job_page.state, job_page.kind, job_page.payload, v_bytes, job_page.since,
                            job_page.until, job_page.before, job_page.max, v_now + job_page.within * 0.6) r
         where v_ring
        union all
        select r.* from trunkline._job_page_d1(v_queue, job_page.state, job_page.kind, job_page.payload, v_bytes, job_page.since,
                            job_page.until, job_page.before, job_page.max, v_now + job_page.within * 0.8) r
         where v_ring
        union all
        select h.* from trunkline._job_page_held(v_queue, job_page.state, job_page.kind, job_page.key, job_page.payload, v_bytes,
                            job_page.since, job_page.until, job_page.before, job_page.max, v_now + job_page.within) h
    ), looked as (
        select f.id, f.at from found f where f.job_state is null order by f.id desc limit 1
    ), picked as materialized (
        select f.* from found f
         where f.job_state is not null and f.id >= coalesce((select l.id from looked l), 0) order by f.id desc limit job_page.max
    )
    select p.id, q.name, p.job_kind, p.job_state, p.lane & 15, p.key, p.attempt, p.max_attempts, p.at, p.due_at, p.begun_at,
           p.ended_at, s.application, p.error
      from (select * from picked
            union all
            select l.id, null, null, null, null, null, l.at, null, null, null, null, null, null from looked l
             where (select count(*) from picked) < job_page.max) p
      left join trunkline.job_queue q on q.id = p.lane >> 4
      left join trunkline.session s on s.id = p.session and p.job_state = 'running'
     order by p.id desc, p.job_state nulls last;
end $$;
