-- The state of what an action is about, for the note of it: of a job, a queue, a schedule, a lease, a consumer or a request, and of a
-- job_*_all how many jobs it is about; null for others, and for what is not there.
create or replace function trunkline._action_state(action text, target jsonb) returns jsonb
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return case
        when action ~ '^job_.*_all$' then jsonb_build_object('jobs', trunkline._action_all(action, target, true))
        when target ? 'request' then
            (select jsonb_build_object('state', r.state, 'attempt', r.attempt)
               from trunkline.request_show((target ->> 'request')::bigint) r)
        when target ? 'id' and not target ? 'stream' then
            (select jsonb_build_object('queue', q.name, 'state', r.state, 'attempt', r.attempt, 'due_at', r.due_at)
               from trunkline._job_rows((target ->> 'id')::bigint, null) r
               join trunkline.job_queue q on q.id = r.lane >> 4)
        when target ? 'queue' then
            (select jsonb_build_object('paused_at', q.paused_at) from trunkline.job_queue q where q.name = target ->> 'queue')
        when target ? 'schedule' then
            (select jsonb_build_object('paused_at', s.paused_at, 'next_at', s.next_at, 'last_job', s.last_job)
               from trunkline.job_schedule s where s.name = target ->> 'schedule')
        when target ? 'lease' then
            (select jsonb_build_object('held_by', l.held_by, 'fence', l.fence, 'resign_asked', l.resign_asked)
               from trunkline.lease_list() l where l.name = target ->> 'lease')
        when target ? 'consumer' then
            (select jsonb_build_object('tick', trunkline._stream_low(c.id),
                                       'dead', (select count(*) from trunkline.stream_dead d where d.consumer = c.id))
               from trunkline.stream s join trunkline.stream_consumer c on c.stream = s.id
              where s.name = target ->> 'stream' and c.name = target ->> 'consumer')
    end;
end $$;
