-- Every job that is known, whatever it waits for: for queries of your own, by who may see payloads. state: waiting, scheduled,
-- running, retrying, done, dead or cancelled; status: the same as new, running, success or error. payload is null for bytes, json
-- for all but JSON. errors: of each attempt that failed; error: the last one.
-- What costs: one id is an index away where jobs are held, and reads the ids of the ring's slices where it may be in a ring, which
-- is emptied at some 64 MiB. Everything else reads all jobs; of their payloads only if you ask for payload, json or headers.
create or replace view trunkline.job as
select r.id, q.name as queue, r.kind, r.key, r.unique_key, r.state,
       case r.state when 'running' then 'running' when 'done' then 'success' when 'dead' then 'error' when 'cancelled' then 'error'
                    else 'new' end as status,
       r.lane & 15 as priority, r.attempt, coalesce(r.max_attempts, q.max_attempts) as max_attempts, r.at as pushed_at, r.due_at,
       r.begun_at, r.ended_at, s.application as worker, s.pid as worker_pid, r.errors -> -1 ->> 'error' as error, r.errors,
       case when r.content <> 0 then trunkline._request_text(r.payload) end as payload,
       case when r.content = 2 then trunkline._request_headers(trunkline._request_text(r.payload)) end as json,
       r.payload as bytes, trunkline._request_headers(r.headers) as headers,
       case when r.result_content <> 0 then trunkline._request_text(r.result) end as result, r.result as result_bytes
  from (select h.id, h.lane, h.kind, h.key, h.unique_key,
               case h.state when 1 then 'running' when 2 then 'dead' when 3 then 'cancelled' when 4 then 'done' when 5 then 'waiting'
                    else case when h.attempt > 0 then 'retrying' when h.due_at > clock_timestamp() then 'scheduled'
                              else 'waiting' end end as state,
               h.attempt, h.max_attempts, h.at, h.due_at, h.begun_at, h.ended_at, h.session, h.errors, h.content::int as content,
               h.payload, h.headers, h.result_content::int as result_content, h.result
          from trunkline.job_held h
        union all
        select w.id, w.lane, w.kind, null, null, w.state, (w.begun_at is not null)::int, nullif(w.max_attempts, 0), w.at, w.at,
               w.begun_at, w.ended_at, w.session, '[]', w.content, w.payload, w.headers, w.result_content, w.result
          from (select * from trunkline._job_seen_e0 union all select * from trunkline._job_seen_e1
                union all select * from trunkline._job_seen_d0 union all select * from trunkline._job_seen_d1) w) r
  join trunkline.job_queue q on q.id = r.lane >> 4
  left join trunkline.session s on s.id = r.session and r.state = 'running';
