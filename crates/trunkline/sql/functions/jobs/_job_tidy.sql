-- Removes held jobs that ended and have been kept for long enough, a thousand at a time, and lets jobs go whose key's turn came
-- while nobody could see it (_job_promote): how many of both.
create or replace function trunkline._job_tidy() returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_sum int;
    v_key record;
begin
    with old as materialized (
        select h.id from trunkline.job_held h join trunkline.job_queue q on q.id = h.lane >> 4
         where h.state in (2, 3, 4)
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
        update trunkline.job_held h set state = 3, ended_at = clock_timestamp() from trunkline.job_cancel c
         where h.id = c.id and h.state in (0, 5)
        returning h.id, h.lane, h.key
    loop
        perform trunkline._job_tell(array[v_key.id]);
        if v_key.key is not null then
            perform trunkline._job_promote(v_key.lane, v_key.key);
        end if;
    end loop;
    for v_key in
        select h.id, h.lane, h.key from trunkline.job_held h
         where h.expires_at <= clock_timestamp() and h.state in (0, 5) order by h.expires_at limit 1000
    loop
        v_sum := v_sum + trunkline._job_drop(v_key.id, v_key.lane, v_key.key, 'expired before it began')::int;
    end loop;
    delete from trunkline.job_unique u where u.until <= clock_timestamp();
    delete from trunkline.job_start s using trunkline.job_queue q
     where q.id = s.queue and s.at <= clock_timestamp() - case s.key when '' then q.rate_period else q.key_rate_period end;
    delete from trunkline.job_wait w where not exists (select from trunkline.session s where s.id = w.session);
    delete from trunkline.job_cancel c using trunkline.job_held h where h.id = c.id and h.state in (2, 3, 4);
    insert into trunkline.buried (session)                  -- what a prepared transaction took, whose session is long gone
    select distinct h.session from trunkline.job_held h
     where h.state = 1 and h.begun_at < clock_timestamp() - interval '10 seconds'
       and not exists (select from trunkline.session s where s.id = h.session)
        on conflict do nothing;
    for v_key in
        select distinct on (h.lane >> 4, h.key) h.lane, h.key from trunkline.job_held h
         where h.state = 5 and not exists (select from trunkline.job_held a
                                            where a.lane >> 4 = h.lane >> 4 and a.key = h.key
                                              and (a.state = 1 or a.state in (0, 5) and a.id < h.id))
         limit 1000
    loop
        perform trunkline._job_promote(v_key.lane, v_key.key);
        v_sum := v_sum + 1;
    end loop;
    return v_sum;
end $$;
