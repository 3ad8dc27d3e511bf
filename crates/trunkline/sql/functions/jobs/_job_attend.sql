-- What a worker's process asks for before it sleeps, and while it works: in how many ms the next job of its queues is due that is held
-- or that a limit keeps waiting, or a status of an attached table (null: none is); and of the jobs that it is working on, those
-- that somebody cancelled. Writes statuses of attached tables that are overdue.
create or replace function trunkline._job_attend(queues int[], working bigint[], out due_ms bigint, out cancelled bigint[])
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    v_limited int[];
    v_lanes   int[];
begin
    select (extract(epoch from min(greatest(least(h.due_at, clock_timestamp() + interval '3650 days'), 'epoch', case when q.rate_limit > 0
                then trunkline._job_free_at(q.id, '', q.rate_limit, q.rate_period) end)) - clock_timestamp()) * 1000)::bigint
      into due_ms
      from trunkline.job_queue q join trunkline.job_priority p on p.queue = q.id
     cross join lateral (select h.due_at from trunkline.job_held h
                          where h.lane = q.id * 16 + p.priority and h.state = 0 order by h.due_at, h.id limit 1) h
     where q.id = any (queues) and q.paused_at is null;
    v_limited := array(select q.id from trunkline.job_queue q where q.id = any (queues) and q.limited and q.paused_at is null);
    if v_limited <> '{}' then
        -- What waits in a ring: until the rate lets more begin, else overdue, and looked for from time to time.
        v_lanes := trunkline._job_untaken_e0(v_limited) || trunkline._job_untaken_e1(v_limited)
                || trunkline._job_untaken_d0(v_limited) || trunkline._job_untaken_d1(v_limited);
        due_ms := least(due_ms, (
            select min(coalesce((extract(epoch from case when q.rate_limit > 0 then
                           trunkline._job_free_at(q.id, '', q.rate_limit, q.rate_period) end - clock_timestamp()) * 1000)::bigint, -1000))
              from trunkline.job_queue q where q.id in (select l >> 4 from unnest(v_lanes) l)));
    end if;
    if exists (select from trunkline.job_unwritten u where u.due_at <= (select clock_timestamp())) then
        perform trunkline._job_attached_due(100);
    end if;
    -- One that could not be written just now, or is another's, is looked at again a quarter of a second later.
    due_ms := least(due_ms, (select case when u.due_at <= clock_timestamp() then 250
                                         else (extract(epoch from u.due_at - clock_timestamp()) * 1000)::bigint end
                               from trunkline.job_unwritten u order by u.due_at limit 1));
    cancelled := array(select c.id from trunkline.job_cancel c where c.id = any (working));
end $$;
