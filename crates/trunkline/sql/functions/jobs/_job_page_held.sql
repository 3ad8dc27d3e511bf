-- The newest of the held jobs that fit each of these, where given: see job_page; `many` at most. With a deadline: what was found until
-- then, and a row without a state that names the id below which it has not looked. What runs or could run is asked for by its own
-- index, where it is no more than 20,000; and what ended. Else it looks by stretches of ids, since few of many may fit.
create or replace function trunkline._job_page_held(queue int, state text, kind text, key text, payload jsonb, containing bytea,
    since timestamptz, until timestamptz, before bigint, many int, deadline timestamptz)
returns table (id bigint, lane int, job_kind text, job_state text, attempt int, max_attempts int, at timestamptz, due_at timestamptz,
               begun_at timestamptz, ended_at timestamptz, session int, job_key text, error text)
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp set jit = off set enable_sort = off
set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
declare
    v_job   record;
    v_upto  record;                                         -- the last of the stretch, where there are more
    v_now   timestamptz := clock_timestamp();
    v_below bigint := coalesce(_job_page_held.before, 9223372036854775807);
    v_few   bigint[];                                       -- all that can fit, where that is known
    v_seen  int := 0;
    v_fit   bigint[] := array[]::bigint[];
begin
    if _job_page_held.state = 'running' then
        v_few := array(select h.id from trunkline.job_held h where h.state = 1 limit 20001);
    elsif _job_page_held.state = 'waiting' then
        v_few := array(
            select w.id from (
                select h.id from trunkline.job_priority p
                 cross join lateral (
                      select h.id from trunkline.job_held h
                       where h.lane = p.queue * 16 + p.priority and h.state = 0 and h.due_at <= v_now limit 20001) h
                 where _job_page_held.queue is null or p.queue = _job_page_held.queue
                union all
                select h.id from trunkline.job_queue q
                 cross join lateral (
                      select h.id from trunkline.job_held h
                       where h.lane >> 4 = q.id and h.key is not null and h.state in (0, 1, 5) limit 20001) h
                 where _job_page_held.queue is null or q.id = _job_page_held.queue) w
             limit 20001);
    end if;
    if cardinality(v_few) > 20000 then
        v_few := null;
    end if;
    <<stretches>>
    loop
        select h.id, h.at into v_upto from trunkline.job_held h
         where deadline is not null and v_few is null and h.id < v_below
           and case _job_page_held.state when 'dead' then h.state = 2 when 'cancelled' then h.state = 3 when 'done' then h.state = 4
                    else true end
         order by h.id desc offset 9999 limit 1;
        for v_job in
            select h.id, h.at,
                   position(_job_page_held.containing in h.payload) is distinct from 0
                   and (_job_page_held.payload is null or h.content = 2
                        and (trunkline._request_headers(trunkline._request_text(h.payload)) @> _job_page_held.payload) is true) as fits
              from trunkline.job_held h
             where h.id < v_below and h.id >= coalesce(v_upto.id, 0) and (v_few is null or h.id = any (v_few))
               and (_job_page_held.queue is null or h.lane between _job_page_held.queue * 16 and _job_page_held.queue * 16 + 15)
               and (_job_page_held.key is null or h.key = _job_page_held.key)
               and (_job_page_held.kind is null or h.kind = _job_page_held.kind)
               and (_job_page_held.since is null or h.at >= _job_page_held.since)
               and (_job_page_held.until is null or h.at < _job_page_held.until)
               and case _job_page_held.state when 'running' then h.state = 1 when 'dead' then h.state = 2 when 'cancelled' then h.state = 3
                        when 'done' then h.state = 4 when 'retrying' then h.state = 0 and h.attempt > 0
                        when 'scheduled' then h.state = 0 and h.attempt = 0 and h.due_at > v_now
                        when 'waiting' then h.state = 5 or h.state = 0 and h.attempt = 0 and h.due_at <= v_now else true end
             order by h.id desc
        loop
            if v_job.fits then
                v_fit := v_fit || v_job.id;
                exit stretches when cardinality(v_fit) >= many;
            end if;
            v_seen := v_seen + 1;
            if v_seen % 64 = 0 and clock_timestamp() > deadline then        -- payloads are read
                v_upto := v_job;
                exit;
            end if;
        end loop;
        exit when v_upto is null;
        v_below := v_upto.id;
        if clock_timestamp() > deadline then
            id := v_below;
            at := v_upto.at;
            return next;
            exit;
        end if;
    end loop;
    return query
    select h.id, h.lane, h.kind,
           case h.state when 1 then 'running' when 2 then 'dead' when 3 then 'cancelled' when 4 then 'done' when 5 then 'waiting'
                else case when h.attempt > 0 then 'retrying' when h.due_at > v_now then 'scheduled' else 'waiting' end end,
           h.attempt, h.max_attempts, h.at, h.due_at, h.begun_at, h.ended_at, h.session, h.key, h.errors -> -1 ->> 'error'
      from trunkline.job_held h where h.id = any (v_fit);
end $$;
