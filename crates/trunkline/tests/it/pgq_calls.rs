//! The same calls on ours and on the real PgQ, one by one: results, error codes and error texts are equal.

use crate::pgq_support::Pair;

/// Queues: made, set, asked about, dropped. Ticks fall due at once, so that nothing here waits.
const QUEUES: [&str; 35] = [
    "select pgq.create_queue(null)",
    "select pgq.create_queue('q')",
    "select pgq.create_queue('q')",
    "select pgq.create_queue('Ä ''quoted'' \"name\".with dots')",
    "select pgq.drop_queue('Ä ''quoted'' \"name\".with dots')",
    "select queue_id, queue_name, queue_ntables, queue_cur_table, queue_data_pfx, queue_event_seq, queue_tick_seq from pgq.queue",
    "select pgq.set_queue_config('q', 'ticker_max_lag', '0')",
    "select pgq.set_queue_config('q', 'ticker_idle_period', '0')",
    "select pgq.set_queue_config('q', 'ticker_max_count', '-5')",
    "select pgq.set_queue_config('q', 'ticker_max_count', 'abc')",
    "select pgq.set_queue_config('q', 'ticker_max_count', '10')",
    "select pgq.set_queue_config('q', 'rotation_period', '1 day')",
    "select pgq.set_queue_config('q', 'external_ticker', 'maybe')",
    "select pgq.set_queue_config('q', 'disable_insert', 'true')",
    "select pgq.set_queue_config('none', 'ticker_max_count', '1')",
    "select pgq.set_queue_config(null, 'ticker_max_count', '1')",
    "select queue_name, queue_ntables, queue_cur_table, queue_rotation_period, queue_external_ticker, queue_ticker_max_count, last_tick_id, ev_new from pgq.get_queue_info()",
    "select count(*) from pgq.get_queue_info('none')",
    "select queue_name, consumer_name, last_tick, current_batch, next_tick, pending_events from pgq.get_consumer_info()",
    "select pgq.current_event_table('q')",
    "select pgq.current_event_table('none')",
    "select pgq.quote_fqname('a.b'), pgq.quote_fqname('B'), pgq.quote_fqname('a b.c.d'), pgq.quote_fqname(null)",
    "select pgq.seq_getval('pgq.event_1_id_seq'), pgq.seq_setval('pgq.event_1_id_seq', 5), pgq.seq_setval('pgq.event_1_id_seq', 3)",
    "select pgq.seq_getval('pgq.none')",
    "select pgq.tune_storage('q'), pgq.tune_storage('none'), pgq.grant_perms('q'), pgq.upgrade_schema()",
    "select pgq.grant_perms('none')",
    "select pgq.drop_queue('none')",
    "select pgq.drop_queue(null)",
    "select * from pgq.maint_operations()",
    "select * from pgq.maint_tables_to_vacuum()",
    "select pgq.maint_retry_events(), pgq.maint_rotate_tables_step1('q'), pgq.maint_rotate_tables_step1('none'), pgq.maint_rotate_tables_step2()",
    "select pgq.ticker('none')",
    "select pgq.force_tick('q'), pgq.force_tick('none')",
    "select pgq.ticker('q')",
    "select pgq.drop_queue('q', true)",
];

#[tokio::test]
async fn queues_answer_as_those_of_pgq() {
    let Some(mut pair) = Pair::new("queues").await else { return };
    for sql in QUEUES {
        pair.same(sql).await;
    }
    pair.equal();
}

/// One consumer's life, with what can go wrong in it.
const CONSUMER: [&str; 62] = [
    "select pgq.create_queue('q'), pgq.set_queue_config('q', 'ticker_max_lag', '0'), pgq.set_queue_config('q', 'ticker_idle_period', '0')",
    "select pgq.register_consumer('none', 'c')",
    "select pgq.register_consumer('q', 'c')",
    "select pgq.register_consumer('q', 'c')",
    "select pgq.register_consumer_at('q', 'c', 99)",
    "select pgq.register_consumer_at('q', 'd', 1)",
    "select pgq.next_batch('q', 'none')",
    "select pgq.next_batch(null, null)",
    "select pgq.next_batch('q', 'c')",
    "select * from pgq.next_batch_info('q', 'c')",
    "select pgq.insert_event('none', 't', 'd')",
    "select pgq.insert_event(null, 't', 'd')",
    "select pgq.insert_event('q', 't1', 'd1'), pgq.insert_event('q', null, null)",
    "select pgq.insert_event('q', 't2', 'd2', 'e1', 'e2', 'e3', 'e4')",
    "select pgq.insert_event_raw('q', 77, '2026-01-01', null, 3, 't3', 'd3', 'e1', null, null, 'e4')",
    "select pgq.insert_event_raw('q', null, null, null, null, 't4', 'd4', null, null, null, null)",
    "select pgq.ticker('q')",
    "select pgq.ticker() > 0",
    "select batch_id, cur_tick_id, prev_tick_id, cur_tick_event_seq, prev_tick_event_seq from pgq.next_batch_custom('q', 'c', null, null, null)",
    "select pgq.next_batch('q', 'c')",
    "select ev_id, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4 from pgq.get_batch_events(1)",
    "select pgq.get_batch_events(99)",
    "select pgq.batch_event_sql(99)",
    "select pgq.batch_event_tables(99)",
    "select queue_name, consumer_name, prev_tick_id, tick_id, seq_start, seq_end from pgq.get_batch_info(1)",
    "select * from pgq.get_batch_info(99)",
    "begin",
    "select ev_id, ev_data from pgq.get_batch_cursor(1, 'a cursor', 2)",
    "move 2 in \"a cursor\"",
    "close \"a cursor\"",
    "select ev_id, ev_data from pgq.get_batch_cursor(1, 'x', 0, 'ev_id > 1')",
    "select ev_id, ev_type from pgq.get_batch_cursor(1, 'y', 100, 'ev_type like ''t%''')",
    "commit",
    "select pgq.get_batch_cursor(99, 'z', 1)",
    "select pgq.get_batch_cursor(1, null, 1)",
    "select pgq.event_retry(1, 1, 0), pgq.event_retry(1, 1, 0)",
    "select pgq.event_retry(1, 2, now())",
    "select pgq.event_retry(1, 999, 0)",
    "select pgq.event_retry(99, 1, 0)",
    "select pgq.batch_retry(1, 0)",
    "select pgq.batch_retry(99, 0)",
    "select pgq.event_retry_raw('q', 'c', now(), 55, now(), 1, 't', 'd', null, null, null, null)",
    "select pgq.event_retry_raw('q', 'none', now(), 55, now(), 1, 't', 'd', null, null, null, null)",
    "select pgq.event_retry_raw('q', 'c', now(), null, now(), 1, 't', 'd', null, null, null, null)",
    "select ev_id, ev_queue, ev_owner, ev_retry, ev_type, ev_data, ev_txid from pgq.retry_queue order by 1",
    "select pgq.finish_batch(1)",
    "select pgq.finish_batch(1)",
    "select pgq.finish_batch(null)",
    "select pgq.maint_retry_events()",
    "select pgq.maint_retry_events()",
    "select pgq.ticker('q') > 0",
    "select pgq.next_batch('q', 'c') > 0",
    "select queue_name, consumer_name, last_tick, current_batch, next_tick, pending_events from pgq.get_consumer_info('q', 'c')",
    "select count(*) from pgq.get_batch_events(2)",
    "select pgq.finish_batch(2)",
    "select ev_id, ev_retry, ev_type, ev_data from pgq.get_batch_events(3)",
    "select pgq.register_consumer_at('q', 'c', 1)",
    "select ev_id, ev_retry, ev_type, ev_data, ev_extra1 from pgq.get_batch_events(pgq.next_batch('q', 'd'))",
    "select queue_name, consumer_name, last_tick, current_batch, next_tick, pending_events from pgq.get_consumer_info('q')",
    "select pgq.drop_queue('q')",
    "select pgq.unregister_consumer('q', 'c'), pgq.unregister_consumer('q', 'c'), pgq.unregister_consumer('q', 'd')",
    "select pgq.drop_queue('q')",
];

#[tokio::test]
async fn a_consumers_calls_answer_as_those_of_pgq() {
    let Some(mut pair) = Pair::new("consumer").await else { return };
    for sql in CONSUMER {
        pair.same(sql).await;
    }
    pair.equal();
}

/// Limits, switches, external ticks, custom batches, rotation.
const SETTINGS: [&str; 58] = [
    "select pgq.create_queue('q'), pgq.set_queue_config('q', 'ticker_max_lag', '0'), pgq.set_queue_config('q', 'ticker_idle_period', '0')",
    "select pgq.register_consumer('q', 'c')",
    "update pgq.queue set queue_disable_insert = true",
    "select pgq.insert_event('q', 't', 'd')",
    "select pgq.current_event_table('q')",
    "set session_replication_role = replica",
    "select pgq.insert_event('q', 't', 'd'), pgq.current_event_table('q')",
    "reset session_replication_role",
    "update pgq.queue set queue_disable_insert = false, queue_per_tx_limit = 2",
    "select pgq.insert_event('q', 't', 'd1')",
    "select pgq.insert_event('q', 't', 'd2') from generate_series(1, 3)",
    "begin",
    "select pgq.insert_event('q', 't', 'd3'), pgq.insert_event('q', 't', 'd4')",
    "select pgq.insert_event_raw('q', null, now(), null, null, 't', 'd', null, null, null, null)",
    "rollback",
    "update pgq.queue set queue_per_tx_limit = 0",
    "select pgq.insert_event('q', 't', 'd')",
    "update pgq.queue set queue_per_tx_limit = -1",
    "select pgq.insert_event('q', 't', 'd')",
    "update pgq.queue set queue_per_tx_limit = null",
    "select pgq.ticker()",
    "select pgq.set_queue_config('q', 'ticker_paused', 'true')",
    "select pgq.ticker('q')",
    "select pgq.ticker()",
    "select pgq.force_tick('q')",
    "select pgq.set_queue_config('q', 'ticker_paused', 'false')",
    "select pgq.ticker('q', 10, now(), 100)",
    "select pgq.set_queue_config('q', 'external_ticker', 'true')",
    "select pgq.ticker('q')",
    "select pgq.ticker()",
    "select pgq.ticker('q', 10, '2026-01-01 00:00', 100)",
    "select pgq.ticker('q', 10, '2026-01-01 00:00', 100)",
    "select pgq.ticker('q', 11, '2026-01-01 00:01', 110)",
    "select pgq.ticker('q', 12, '2026-01-01 00:02', 180)",
    "select pgq.ticker('none', 12, '2026-01-01 00:02', 180)",
    "select tick_id, tick_event_seq from pgq.tick order by 1",
    "select pgq.seq_getval('pgq.event_1_id_seq'), pgq.seq_getval('pgq.event_1_tick_seq')",
    "select * from pgq.find_tick_helper(1, 10, '2026-01-01 00:00', 100, 5, null)",
    "select * from pgq.find_tick_helper(1, 10, '2026-01-01 00:00', 100, 50, null)",
    "select * from pgq.find_tick_helper(1, 10, '2026-01-01 00:00', 100, 500, null)",
    "select * from pgq.find_tick_helper(1, 10, '2026-01-01 00:00', 100, null, '1 min')",
    "select * from pgq.find_tick_helper(1, 10, '2026-01-01 00:00', 100, null, '20 s')",
    "select * from pgq.find_tick_helper(1, 10, '2026-01-01 00:00', 100, 500, '20 s')",
    "select * from pgq.find_tick_helper(1, 12, '2026-01-01 00:02', 180, 1, '20 s')",
    "select pgq.register_consumer_at('q', 'c', 10)",
    "select batch_id, cur_tick_id, prev_tick_id from pgq.next_batch_custom('q', 'c', '1000 years', null, null)",
    "select batch_id, cur_tick_id, prev_tick_id from pgq.next_batch_custom('q', 'c', null, 500, null)",
    "select cur_tick_id, prev_tick_id, cur_tick_time, prev_tick_time from pgq.next_batch_custom('q', 'c', '1 min', 20, null)",
    "select pgq.set_queue_config('q', 'rotation_period', '0')",
    "select * from pgq.maint_operations()",
    "select pgq.maint_rotate_tables_step1('q')",
    "select queue_cur_table from pgq.queue",
    "select * from pgq.maint_operations()",
    "select pgq.maint_rotate_tables_step2()",
    "select queue_switch_step2 is not null from pgq.queue",
    "update pgq.queue set queue_extra_maint = array['my.first', 'my.second']",
    "select * from pgq.maint_operations()",
    "select pgq.drop_queue('q', true)",
];

#[tokio::test]
async fn settings_ticks_and_rotation_answer_as_those_of_pgq() {
    let Some(mut pair) = Pair::alone("settings").await else { return };
    for sql in SETTINGS {
        pair.same(sql).await;
    }
    pair.equal();
}

/// What each role may call, and what it is told when it may not.
#[tokio::test]
async fn the_roles_may_do_what_those_of_pgq_may() {
    let Some(mut pair) = Pair::new("roles").await else { return };
    pair.run("select pgq.create_queue('q'); select pgq.register_consumer('q', 'c')").await;
    for role in ["pgq_reader", "pgq_writer", "pgq_admin", "pg_monitor"] {
        pair.run(&format!("set role {role}")).await;
        for sql in [
            "select pgq.insert_event('q', 't', 'd') > 0",
            "select pgq.insert_event('q', 't', 'd', null, null, null, null) > 0",
            "select pgq.insert_event_raw('q', null, null, null, null, 't', 'd', null, null, null, null) > 0",
            "select pgq.current_event_table('q')",
            "insert into pgq.event_1_0 (ev_id, ev_time) values (1000, now())",
            "select count(*) >= 0 from pgq.event_1",
            "select pgq.next_batch('q', 'c') is null",
            "select count(*) from pgq.get_consumer_info()",
            "select count(*) from pgq.get_queue_info()",
            "select pgq.create_queue('r'), pgq.drop_queue('r')",
            "select pgq.ticker() >= 0",
            "select pgq.maint_rotate_tables_step1('q'), pgq.maint_rotate_tables_step2(), pgq.maint_retry_events()",
            "select pgq.set_queue_config('q', 'ticker_max_count', '500')",
            "select count(*) from pgq.retry_queue",
            "select count(*) from pgq.subscription",
            "update pgq.queue set queue_per_tx_limit = null",
            "select pgq.seq_getval('pgq.event_1_id_seq') > 0",
            "select pgq.register_consumer('q', 'c'), pgq.finish_batch(1)",
            "select pgq.version() ~ '^3.5'",
        ] {
            pair.same(sql).await;
        }
        pair.run("reset role").await;
    }
    pair.equal();
}
