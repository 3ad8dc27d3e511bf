-- Pushes a job of a schedule for each of these times: their ids, in order. Headers: those of the schedule, its name, and
-- scheduled_at, the time as RFC 3339. Errors: those of job_push.
create or replace function trunkline._job_schedule_push(schedule trunkline.job_schedule, ats timestamptz[]) returns bigint[]
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return array(
        select trunkline._job_push(
                   queue => schedule.queue, content => schedule.content::int, payload => schedule.payload, kind => schedule.kind,
                   key => schedule.key, unique_key => null, priority => schedule.priority, run_at => null,
                   max_attempts => schedule.max_attempts,
                   headers => (coalesce(schedule.headers::jsonb, '{}') || jsonb_build_object('schedule', schedule.name,
                       'scheduled_at', to_char(a.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')))::text)
          from unnest(ats) with ordinality a(at, n) order by a.n);
end $$;
