-- Makes jobs of a queue run now, all of those in a state: dead, unless told, or cancelled, retrying or scheduled; that fit what else
-- is given, see _job_matches. How many; with dry_run they are only counted. As job_retry, each. Of those with one unique_key the
-- oldest, and none where a job with it waits or runs.
-- Errors: 22004, 22023 for another state; 42704 no such queue. Locks: the rows, in the order of their ids.
create or replace function trunkline.job_retry_all(queue text, state text default 'dead', kind text default null,
    dry_run boolean default false, key text default null, older_than interval default null, payload jsonb default null,
    containing text default null, since timestamptz default null, until timestamptz default null, cause text default null)
returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_queue trunkline.job_queue := trunkline._job_named(queue);
    v_all   bigint[];
    v_ids   bigint[];
begin
    if job_retry_all.state is null then
        raise exception 'state must not be null' using errcode = '22004';
    elsif job_retry_all.state not in ('dead', 'cancelled', 'retrying', 'scheduled') then
        raise exception 'jobs can be retried that are dead, cancelled, retrying or scheduled, not "%"',
            left(job_retry_all.state, 100) using errcode = '22023';
    end if;
    v_all := trunkline._job_matches(v_queue.id, job_retry_all.state, job_retry_all.kind, job_retry_all.key,
                                    job_retry_all.older_than, job_retry_all.payload, job_retry_all.containing,
                                    job_retry_all.since, job_retry_all.until, job_retry_all.cause);
    for v_try in 1 .. 100 loop
        v_ids := array(
            select distinct on (coalesce(h.unique_key, h.id::text), h.unique_key is null) h.id from trunkline.job_held h
             where h.id = any (v_all)
               and case job_retry_all.state when 'dead' then h.state = 2 when 'cancelled' then h.state = 3
                        else h.state = 0 and h.due_at > clock_timestamp()
                             and (h.attempt > 0) = (job_retry_all.state = 'retrying') end
               and (h.unique_key is null or h.state = 0
                    or not exists (select from trunkline.job_held a
                                    where a.lane >> 4 = v_queue.id and a.unique_key = h.unique_key and a.state in (0, 1, 5)))
             order by coalesce(h.unique_key, h.id::text), h.unique_key is null, h.id);
        exit when job_retry_all.dry_run;
        begin
            perform from trunkline.job_held h where h.id = any (v_ids) order by h.id for update;
            with again as (
                update trunkline.job_held h
                   set state = 0, due_at = clock_timestamp(), ended_at = null,
                       attempt = case when h.state = 0 then h.attempt else 0 end
                 where h.id = any (v_ids) and (h.state in (2, 3) or h.state = 0 and h.due_at > clock_timestamp())
                returning h.id)
            select coalesce(array_agg(a.id), '{}') into v_ids from again a;
            exit;
        exception when unique_violation then
            -- One with its unique_key was pushed meanwhile.
            perform trunkline._check_read_committed('the retry of a unique job that another transaction pushed meanwhile');
        end;
    end loop;
    if not job_retry_all.dry_run and v_ids <> '{}' then
        delete from trunkline.job_cancel c where c.id = any (v_ids);
        perform trunkline._door_ring(-65 - (v_queue.id & 63));
    end if;
    return cardinality(v_ids);
end $$;
