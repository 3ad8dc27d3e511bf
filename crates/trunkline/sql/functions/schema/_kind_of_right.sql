-- Which roles may call a function of this schema, by its name: reader, writer, admin, or null for internal ones.
-- The one list of what is public; a test compares it with the functions that exist.
create or replace function trunkline._kind_of_right(function_name text) returns text
language sql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
    select case
        when function_name in ('request_list', 'request_show', 'request_responders',
            'stream_list', 'stream_consumers', 'stream_moves', 'job_list', 'job_queues', 'job_schedules', 'session_list', 'log_rings',
            'request_channels', 'job_dead', 'job_page', 'action_list', 'job_attachments', 'lease_list', 'lease_waiters',
            'topic_list', 'topic_subscriptions', 'topic_published', '_schema_version', '_schema_release', '_epoch_check',
            '_kind_of_right') then 'reader'
        when function_name in ('stream_peek', 'topic_peek', 'stream_open', 'stream_drop', 'stream_set', 'stream_tick_at', 'stream_maintain',
            '_stream_all', '_stream_duty', 'topic_create', 'topic_drop', '_topic_turn') then 'admin'
        when function_name in ('action_do', 'maintain', 'schema_repair', 'grant_to', '_log_turn_e', '_log_turn_d', '_job_turn_e',
            '_job_turn_d', '_job_tidy', '_job_count_held', '_job_attached_tidy', 'job_set', 'job_forward', '_job_schedule_due',
            '_job_schedule_fire', '_job_schedule_fail', '_job_schedule_wait', 'lease_resign') then 'admin'
        when function_name in (
            '_door_hold', '_door_leave', '_door_mark', '_door_unsettled', '_door_ring',
            '_log_near', '_session_here', '_session_open', '_session_resume', '_session_renew', '_session_close',
            '_session_reap', '_request_lane', '_request_crowd', '_request_serve', '_request_unserve', '_request_hold',
            '_request_served', '_request_present',
            '_stream_next_batch', '_stream_next_read', '_stream_hand_back', '_stream_events', '_stream_write', '_stream_ask',
            '_stream_calm', '_stream_target', '_stream_batch', '_stream_copied', '_stream_key_columns',
            '_job_write', '_job_target', '_job_push_on', '_job_work', '_job_take', '_job_end', '_job_ended', '_job_complete_on',
            '_job_return', '_job_attend', '_job_push_wait', '_job_wait', '_job_unwait', '_job_outcomes', '_job_progress',
            '_job_progress_of', '_job_schedule', '_lease_look', '_lease_leave', '_lease_renew', '_lease_release', '_lease_watch',
            '_lease_unwatch', '_lease_vigil', '_lease_in_force', '_request_text', '_request_headers', '_topic_write', '_topic_look',
            '_topic_subscribe', '_topic_unsubscribe', '_topic_stands', '_topic_doors', '_topic_kind',
            '_topic_follow') then 'writer'
        when function_name ~ '^_request_(write|take|take_again|reply|refused|fetch|pass|confirm)_[ed][01]$' then 'writer'
        when function_name ~ '^_job_done_[ed][01]$' then 'writer'
        when function_name ~ '^_request_(write|reply|finish|outcome|watch|return)_[ed]$' then 'writer'
        when function_name !~ '^_' then 'writer'
    end
$$;
