-- Each channel with its live responders, and what became of the newest requests, `recent` of all channels: how many wait, were
-- taken, ended and how; how many a second were sent, ended, and failed in the last ten; the time from sending to the end in milliseconds,
-- in the middle, of 95 and of 99 in a hundred; and since when the oldest one waits.
-- Reads the newest rows of the rings, and the endings and takes of those. Errors: 22023 for recent.
create or replace function trunkline.request_channels(recent int default 5000)
returns table (channel text, durable boolean, responders bigint, waiting bigint, taken bigint, ok bigint, failed bigint, timed_out bigint,
               cancelled bigint, lost bigint, sent_per_second float8, ended_per_second float8, failed_per_second float8, p50 float8,
               p95 float8, p99 float8, oldest interval)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
#variable_conflict use_column
declare
    v_now timestamptz := clock_timestamp();
begin
    if request_channels.recent is null or request_channels.recent not between 1 and 100000 then
        raise exception 'recent must be from 1 to 100000, got %', request_channels.recent using errcode = '22023';
    end if;
    return query
    with newest as materialized (
        select r.id, r.lane, r.sent_at, r.expires_at
          from (select * from trunkline.request_e0 union all select * from trunkline.request_e1
                union all select * from trunkline.request_d0 union all select * from trunkline.request_d1
                order by id desc limit request_channels.recent) r
         where r.lane > 0
    ), taken as materialized (
        select distinct u.id
          from (select t.lane, t.ids from trunkline.take_e0 t union all select t.lane, t.ids from trunkline.take_e1 t
                union all select t.lane, t.ids from trunkline.take_d0 t union all select t.lane, t.ids from trunkline.take_d1 t) t
         cross join lateral unnest(t.ids) u(id)
         where t.lane > 0 and u.id >= (select min(n.id) from newest n)
    ), ended as materialized (
        select n.id, n.lane, n.sent_at, e.ended_at, n.expires_at, extract(epoch from e.ended_at - n.sent_at)::float8 * 1000 as ms,
               case when e.status is not null then trunkline._request_outcome(e.status)
                    when n.expires_at <= v_now then 'timed out'
                    when n.id in (select t.id from taken t) then 'taken' else 'waiting' end as outcome
          from newest n
          left join lateral (
              select e.status, e.ended_at from trunkline.ending_e0 e where e.id = n.id and e.part = 0 and e.status <> 6
              union all
              select e.status, e.ended_at from trunkline.ending_e1 e where e.id = n.id and e.part = 0 and e.status <> 6
              union all
              select e.status, e.ended_at from trunkline.ending_d0 e where e.id = n.id and e.part = 0 and e.status <> 6
              union all
              select e.status, e.ended_at from trunkline.ending_d1 e where e.id = n.id and e.part = 0 and e.status <> 6
              limit 1) e on true
    )
    select c.name, c.durable, (select count(*) from trunkline.responder r where r.channel = c.id and trunkline._session_alive(r.session)),
           count(e.id) filter (where e.outcome = 'waiting'), count(e.id) filter (where e.outcome = 'taken'),
           count(e.id) filter (where e.outcome = 'ok'), count(e.id) filter (where e.outcome in ('remote error', 'unsupported')),
           count(e.id) filter (where e.outcome = 'timed out'), count(e.id) filter (where e.outcome = 'cancelled'),
           count(e.id) filter (where e.outcome = 'lost'),
           count(e.id) filter (where e.sent_at > v_now - interval '10 seconds') / 10.0::float8,
           count(e.id) filter (where e.ended_at > v_now - interval '10 seconds') / 10.0::float8,
           count(e.id) filter (where e.outcome in ('remote error', 'unsupported', 'timed out', 'lost')
                                 and coalesce(e.ended_at, e.expires_at) > v_now - interval '10 seconds') / 10.0::float8,
           percentile_cont(0.5) within group (order by e.ms), percentile_cont(0.95) within group (order by e.ms),
           percentile_cont(0.99) within group (order by e.ms), v_now - min(e.sent_at) filter (where e.outcome = 'waiting')
      from trunkline.request_channel c
      left join ended e on e.lane = c.id
     group by c.id, c.name, c.durable
     order by c.name;
end $$;
