-- Fires a schedule for these times, oldest first, and sets its next one: how many jobs, and the queue's door. Both null, and nothing
-- done, when it is not as it was read: another one fired it, it was changed, paused or removed; or another one is about to.
-- failure: why its jobs could not be pushed; noted, and tried again in a minute.
-- Each time at most once, by any number of callers: its next time is compared and set under its row's lock, together with
-- the push. None is lost: who dies here leaves it as it was. A time that has not come by this server's clock is not fired.
-- Locks: the schedule's row, which is not waited for.
create or replace function trunkline._job_schedule_fire(name text, generation bigint, due_at timestamptz, ats timestamptz[],
    next_at timestamptz, out pushed int, out door int, out failure text)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v     trunkline.job_schedule;
    v_ids bigint[];
begin
    select * into v from trunkline.job_schedule s
     where s.name = _job_schedule_fire.name and s.generation = _job_schedule_fire.generation and s.paused_at is null
       and s.next_at is not distinct from _job_schedule_fire.due_at
       and not exists (select from unnest(_job_schedule_fire.ats) a where a > clock_timestamp())
       for update skip locked;
    if not found then
        return;
    end if;
    begin
        v_ids := trunkline._job_schedule_push(v, ats);
    exception when others then
        if sqlstate !~ '^(22|23|42|53400|TL)' then            -- the server's trouble, not the schedule's
            raise;
        end if;
        failure := left(sqlerrm, 1000);
        perform trunkline._job_schedule_fail(_job_schedule_fire.name, _job_schedule_fire.generation, failure);
        return;
    end;
    pushed := cardinality(v_ids);
    door := (select -65 - (q.id & 63) from trunkline.job_queue q where q.name = v.queue);
    update trunkline.job_schedule s
       set next_at = _job_schedule_fire.next_at, fires = s.fires + pushed, last_at = coalesce(ats[pushed], s.last_at),
           last_job = coalesce(v_ids[pushed], s.last_job), error = null, tried_at = null
     where s.name = v.name;
end $$;
