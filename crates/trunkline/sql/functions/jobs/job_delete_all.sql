-- Deletes jobs of a queue that are held, all of those in a state: dead, unless told, or cancelled or done; that fit what else is
-- given, see _job_matches. How many; with dry_run they are only counted. Passes over those that another transaction has just now.
-- What ended in a ring goes with its segment, and is not counted.
-- Errors: 22004, 22023 for another state; 42704 no such queue. Locks: the rows.
create or replace function trunkline.job_delete_all(queue text, state text default 'dead', kind text default null,
    dry_run boolean default false, key text default null, older_than interval default null, payload jsonb default null,
    containing text default null, since timestamptz default null, until timestamptz default null, cause text default null)
returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_queue trunkline.job_queue := trunkline._job_named(queue);
    v_ids   bigint[];
begin
    if job_delete_all.state is null then
        raise exception 'state must not be null' using errcode = '22004';
    elsif job_delete_all.state not in ('dead', 'cancelled', 'done') then
        raise exception 'jobs can be deleted that are dead, cancelled or done, not "%"', left(job_delete_all.state, 100)
            using errcode = '22023';
    end if;
    v_ids := trunkline._job_matches(v_queue.id, job_delete_all.state, job_delete_all.kind, job_delete_all.key,
                                    job_delete_all.older_than, job_delete_all.payload, job_delete_all.containing,
                                    job_delete_all.since, job_delete_all.until, job_delete_all.cause);
    if job_delete_all.dry_run then
        return (select count(*) from trunkline.job_held h where h.id = any (v_ids) and h.state in (2, 3, 4));
    end if;
    with old as materialized (
        select h.id from trunkline.job_held h where h.id = any (v_ids) and h.state in (2, 3, 4)
         order by h.id for update skip locked
    ), gone as (
        delete from trunkline.job_held h using old where h.id = old.id returning h.id)
    select coalesce(array_agg(g.id), '{}') into v_ids from gone g;
    delete from trunkline.job_cancel c where c.id = any (v_ids);
    return cardinality(v_ids);
end $$;
