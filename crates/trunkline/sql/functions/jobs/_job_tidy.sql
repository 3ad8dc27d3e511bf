-- Removes held jobs that ended and have been kept for long enough, a thousand at a time, and lets jobs go whose key's turn came
-- while nobody could see it (_job_promote): how many of both. Waits for nobody: what somebody has just now is for the next time.
create or replace function trunkline._job_tidy() returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
#variable_conflict use_column
declare
    v_sum int;
    v_key record;
begin
    with old as materialized (
        select h.id from trunkline.job_held h join trunkline.job_queue q on q.id = h.lane >> 4
         where h.state in (2, 3, 4)
           and h.ended_at < (select clock_timestamp() - min(least(k.keep_done, k.keep_dead)) from trunkline.job_queue k)
           and h.ended_at < clock_timestamp() - case when h.state = 2 then q.keep_dead else q.keep_done end
           and (h.ended_at < clock_timestamp() - interval '1 day'                   -- or somebody is still to see its end
                or not exists (select from trunkline.job_wait w where w.id = h.id))
         order by h.ended_at limit 1000 for update of h skip locked
    ), gone as (
        delete from trunkline.job_held h using old where h.id = old.id returning h.id
    ), forgotten as (
        delete from trunkline.job_progress p using gone where p.id = gone.id
    ), unseen as (
        delete from trunkline.job_wait w using gone where w.id = gone.id)
    select count(*) into v_sum from gone;
    for v_key in                                            -- cancelled while they ended, and neither saw the other
        select h.id, h.lane, h.key from trunkline.job_cancel c
         cross join lateral (select * from trunkline.job_held h where h.id = c.id and h.state in (0, 5) limit 1) h limit 1000
    loop
        perform trunkline._job_drop(v_key.id, v_key.lane, v_key.key, null);
    end loop;
    for v_key in
        select h.id, h.lane, h.key from trunkline.job_held h
         where h.expires_at <= (select clock_timestamp()) and h.state in (0, 5) order by h.expires_at limit 1000
    loop
        v_sum := v_sum + trunkline._job_drop(v_key.id, v_key.lane, v_key.key, 'expired before it began')::int;
    end loop;
    with old as materialized (
        select u.queue, u.key from trunkline.job_unique u where u.until <= (select clock_timestamp()) for update skip locked)
    delete from trunkline.job_unique u using old where u.queue = old.queue and u.key = old.key;
    with old as materialized (
        select s.queue, s.key, s.at from trunkline.job_start s join trunkline.job_queue q on q.id = s.queue
         where s.at <= clock_timestamp() - case s.key when '' then q.rate_period else q.key_rate_period end
           for update of s skip locked)
    delete from trunkline.job_start s using old where s.queue = old.queue and s.key = old.key and s.at = old.at;
    delete from trunkline.job_wait w where not exists (select from trunkline.session s where s.id = w.session);
    delete from trunkline.job_cancel c
     where (select h.state from trunkline.job_held h where h.id = c.id) in (2, 3, 4);
    insert into trunkline.buried (session)                  -- what a prepared transaction took, whose session is long gone
    select distinct h.session from trunkline.job_held h
     where h.state = 1 and h.begun_at < clock_timestamp() - interval '10 seconds'
       and not exists (select from trunkline.session s where s.id = h.session)
        on conflict do nothing;
    for v_key in
        with recursive first as (                           -- of each key, one look into the index for each
            (select h.lane, h.key, h.state from trunkline.job_held h where h.key is not null and h.state in (0, 1, 5)
              order by h.lane >> 4, h.key, h.id limit 1)
            union all
            select n.lane, n.key, n.state from first f
             cross join lateral (
                  select h.lane, h.key, h.state from trunkline.job_held h
                   where h.key is not null and h.state in (0, 1, 5) and (h.lane >> 4, h.key) > (f.lane >> 4, f.key)
                   order by h.lane >> 4, h.key, h.id limit 1) n)
        select f.lane, f.key from first f
         where f.state = 5 and not exists (select from trunkline.job_held a
                                            where a.lane >> 4 = f.lane >> 4 and a.key = f.key and a.state = 1)
         limit 1000
    loop
        if pg_try_advisory_xact_lock(1953656434, hashtext((v_key.lane >> 4) || ' ' || v_key.key)) then
            perform trunkline._job_promote(v_key.lane, v_key.key, true);
            v_sum := v_sum + 1;
        end if;
    end loop;
    return v_sum;
end $$;
