-- One round of every duty, for pg_cron or by hand: buries dead sessions, turns the rings. What was done, as JSON.
-- The daemon and Trunkline::maintain call it on a clock; any number at once is harmless.
create or replace function trunkline.maintain() returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    perform trunkline._epoch_check();
    return jsonb_build_object(
        'sessions_buried', trunkline._session_reap(),
        'ephemeral_requests', trunkline._log_turn_e(67108864),
        'durable_requests', trunkline._log_turn_d(67108864));
end $$;
