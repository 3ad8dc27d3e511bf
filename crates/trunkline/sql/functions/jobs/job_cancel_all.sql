-- Cancels jobs of a queue, all of those in a state: waiting, unless told, or scheduled, retrying or running; that fit what else is
-- given, see _job_matches. How many; with dry_run they are only counted. As job_cancel, each. Reads all of the queue.
-- Waits for nobody: a job, or a key, that another transaction has just now is cancelled by whoever has it, or takes it next.
-- Errors: 22004, 22023 for another state; 42704 no such queue. Locks: the rows of those that are held, and their keys.
create or replace function trunkline.job_cancel_all(queue text, state text default 'waiting', kind text default null,
    dry_run boolean default false, key text default null, older_than interval default null, payload jsonb default null,
    containing text default null, since timestamptz default null, until timestamptz default null, cause text default null)
returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_queue trunkline.job_queue := trunkline._job_named(queue);
    v_ids   bigint[];
    v_ended bigint[];
    v_lanes int[];
    v_keys  text[];
    v_told  bigint;
begin
    if job_cancel_all.state is null then
        raise exception 'state must not be null' using errcode = '22004';
    elsif job_cancel_all.state not in ('waiting', 'scheduled', 'retrying', 'running') then
        raise exception 'jobs can be cancelled that are waiting, scheduled, retrying or running, not "%"',
            left(job_cancel_all.state, 100) using errcode = '22023';
    end if;
    v_ids := trunkline._job_matches(v_queue.id, job_cancel_all.state, job_cancel_all.kind, job_cancel_all.key,
                                    job_cancel_all.older_than, job_cancel_all.payload, job_cancel_all.containing,
                                    job_cancel_all.since, job_cancel_all.until, job_cancel_all.cause);
    if job_cancel_all.dry_run then
        return cardinality(v_ids);
    end if;
    with keys as materialized (                             -- a key's lock comes before its jobs: as _job_promote has it
        select k.key from (select distinct h.key from trunkline.job_held h
                            where h.id = any (v_ids) and h.state in (0, 5) and h.key is not null limit 1000) k
         where pg_try_advisory_xact_lock(1953656434, hashtext(v_queue.id || ' ' || k.key))
    ), mine as materialized (
        select h.id from trunkline.job_held h
         where h.id = any (v_ids) and h.state in (0, 5) and (h.key is null or h.key in (select k.key from keys k))
         order by h.id for update skip locked
    ), over as (
        update trunkline.job_held h set state = 3, ended_at = clock_timestamp() from mine where h.id = mine.id
        returning h.id, h.lane, h.key)
    select coalesce(array_agg(o.id), '{}'), array_agg(o.lane) filter (where o.key is not null),
           array_agg(o.key) filter (where o.key is not null)
      into v_ended, v_lanes, v_keys from over o;
    perform trunkline._job_promote(k.lane, k.key, true)
       from (select min(u.lane) as lane, u.key from unnest(v_lanes, v_keys) u(lane, key) group by u.key order by u.key) k;
    -- What runs, what is in a ring, and what somebody else has: whoever holds or takes it sees it there.
    with told as (
        insert into trunkline.job_cancel (id)
        select u.id from unnest(v_ids) u(id) left join trunkline.job_held h on h.id = u.id
         where not exists (select from unnest(v_ended) e(id) where e.id = u.id) and (h.id is null or h.state in (0, 1, 5))
         order by u.id
            on conflict do nothing
        returning 1)
    select count(*) into v_told from told;
    perform trunkline._job_tell(v_ended);
    return cardinality(v_ended) + v_told;
end $$;
