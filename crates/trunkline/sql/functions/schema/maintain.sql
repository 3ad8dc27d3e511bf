-- One round of every duty, for pg_cron or by hand: buries dead sessions, ticks, turns the rings. What was done, as JSON.
-- The daemon and Trunkline::maintain do the same on a clock; any number at once is harmless.
create or replace function trunkline.maintain() returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_buried int := 0;
    v_done   record;
begin
    perform trunkline._epoch_check(), trunkline._job_count_held();
    for v_slice in 1 .. 1000 loop
        select * into v_done from trunkline._session_reap();
        v_buried := v_buried + v_done.buried;
        exit when not v_done.more;
    end loop;
    return jsonb_build_object(
        'sessions_buried', v_buried,
        'ephemeral_requests', trunkline._log_turn_e(67108864),
        'durable_requests', trunkline._log_turn_d(67108864),
        'ephemeral_jobs', trunkline._job_turn_e(67108864, interval '10 minutes'),
        'durable_jobs', trunkline._job_turn_d(67108864, interval '10 minutes'),
        'jobs_tidied', trunkline._job_tidy(),
        'jobs_attached', trunkline._job_attached_tidy(),
        'topics', trunkline._topic_turn(67108864, interval '1 minute', 1073741824),
        'streams', trunkline.stream_maintain());
end $$;
