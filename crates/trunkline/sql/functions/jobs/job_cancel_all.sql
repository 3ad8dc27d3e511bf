-- Cancels jobs of a queue, all of those in a state: waiting, unless told, or scheduled, retrying or running; of a kind, where
-- given. How many; with dry_run they are only counted. As job_cancel, each. Reads all of the queue.
-- Errors: 22004, 22023 for another state; 42704 no such queue. Locks: the rows of those that are held, and their keys.
create or replace function trunkline.job_cancel_all(queue text, state text default 'waiting', kind text default null,
                                                    dry_run boolean default false) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_queue trunkline.job_queue := trunkline._job_named(queue);
    v_ids   bigint[];
    v_count bigint;
    v_lanes int[];
    v_keys  text[];
begin
    if job_cancel_all.state is null then
        raise exception 'state must not be null' using errcode = '22004';
    elsif job_cancel_all.state not in ('waiting', 'scheduled', 'retrying', 'running') then
        raise exception 'jobs can be cancelled that are waiting, scheduled, retrying or running, not "%"',
            left(job_cancel_all.state, 100) using errcode = '22023';
    end if;
    v_ids := array(select r.id from trunkline._job_rows(null, v_queue.id) r
                    where r.state = job_cancel_all.state and (job_cancel_all.kind is null or r.kind = job_cancel_all.kind));
    if job_cancel_all.dry_run then
        return cardinality(v_ids);
    end if;
    with over as (
        update trunkline.job_held h set state = 3, ended_at = clock_timestamp()
         where h.id = any (v_ids) and h.state in (0, 5)
        returning h.lane, h.key)
    select count(*), array_agg(o.lane) filter (where o.key is not null), array_agg(o.key) filter (where o.key is not null)
      into v_count, v_lanes, v_keys from over o;
    perform trunkline._job_promote(k.lane, k.key)
       from (select min(u.lane) as lane, u.key from unnest(v_lanes, v_keys) u(lane, key) group by u.key order by u.key) k;
    -- What runs, and what is in a ring: whoever holds or takes it sees it there.
    with told as (
        insert into trunkline.job_cancel (id)
        select u.id from unnest(v_ids) u(id) left join trunkline.job_held h on h.id = u.id
         where h.id is null or h.state = 1
            on conflict do nothing
        returning 1)
    select v_count + count(*) into v_count from told;
    perform trunkline._job_tell(v_ids);
    return v_count;
end $$;
