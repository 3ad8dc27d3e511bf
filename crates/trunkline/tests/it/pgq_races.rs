//! Where the original loses or doubles events, or lets one queue stop the others: named steps, two sessions.

use crate::{
    pgq_support::adapted,
    support::{Db, Raw, until},
};

/// A queue that ticks whenever it is asked to, and a consumer.
async fn queue() -> (Db, Raw) {
    let db = adapted().await;
    let raw = db.raw().await;
    raw.run("select pgq.create_queue('q'), pgq.set_queue_config('q', 'ticker_max_lag', '0'), pgq.set_queue_config('q', 'ticker_idle_period', '0');
             select pgq.register_consumer('q', 'c')").await;
    (db, raw)
}

/// One batch: what is in it, read and finished.
async fn batch(raw: &Raw, consumer: &str) -> Vec<String> {
    let batch = raw.one(&format!("select pgq.next_batch('q', '{consumer}')")).await;
    if batch.is_empty() {
        return Vec::new();
    }
    let events = raw.rows(&format!("select ev_data from pgq.get_batch_events({batch})")).await;
    assert_eq!(raw.one(&format!("select pgq.finish_batch({batch})")).await, "1");
    events
}

/// Ticks and reads until nothing comes; other tests' transactions may hold something back for a moment.
async fn all(raw: &Raw, consumer: &str, wanted: usize) -> Vec<String> {
    let mut out = Vec::new();
    until("all events", async || {
        raw.run("select pgq.ticker()").await;
        out.extend(batch(raw, consumer).await);
        out.len() >= wanted
    })
    .await;
    for _ in 0..3 {
        raw.run("select pgq.ticker()").await;
        out.extend(batch(raw, consumer).await);
    }
    out
}

/// Rotates, with all that must come before.
async fn rotate(raw: &Raw) {
    rotate_past(raw, &["c"]).await;
}

/// The same where others read too.
async fn rotate_past(raw: &Raw, consumers: &[&str]) {
    raw.run("update pgq.queue set queue_rotation_period = '0'").await;
    let before = raw.one("select rotations from pgq._guard").await;
    until("a rotation", async || {
        raw.run("select pgq.maint_rotate_tables_step2()").await;
        raw.run("select pgq.ticker()").await;
        for consumer in consumers {
            batch(raw, consumer).await;
        }
        raw.run("select pgq.maint_rotate_tables_step1('q')").await;
        raw.one("select rotations from pgq._guard").await != before
    })
    .await;
    raw.run("select pgq.maint_rotate_tables_step2()").await;
}

#[tokio::test]
async fn ticks_and_rotations_are_refused_where_an_older_state_is_in_view() {
    let (_db, raw) = queue().await;
    raw.run("update pgq.queue set queue_rotation_period = '0'").await;
    for level in ["repeatable read", "serializable"] {
        for call in [
            "pgq.ticker()",
            "pgq.ticker('q')",
            "pgq.ticker('q', 9, now(), 9)",
            "pgq.maint_rotate_tables_step1('q')",
        ] {
            raw.run(&format!("begin isolation level {level}")).await;
            assert_eq!(raw.code(&format!("select {call}")).await, "25001", "{call}");
            raw.run("rollback").await;
        }
    }
}

#[tokio::test]
async fn an_event_that_is_committed_late_on_a_quiet_queue_gets_its_tick() {
    let (db, raw) = queue().await;
    let late = db.raw().await;
    late.run("begin; select pgq.insert_event('q', 't', 'late')").await;
    raw.run("select pgq.insert_event('q', 't', 'early')").await;
    raw.run("select pgq.ticker('q')").await;
    raw.run("update pgq.queue set queue_ticker_idle_period = '1 hour'").await;
    raw.run("update pgq.tick set tick_time = tick_time - interval '1 hour' where tick_id = 1").await;
    assert_eq!(raw.one("select pgq.ticker('q')").await, "", "nothing is new");
    late.run("commit").await;
    assert_ne!(raw.one("select pgq.ticker('q')").await, "", "what was committed since is");
    assert_eq!(raw.one("select pgq.ticker('q')").await, "", "once");
    assert_eq!([batch(&raw, "c").await, batch(&raw, "c").await].concat(), ["early", "late"]);
}

#[tokio::test]
async fn two_sessions_of_one_consumer_get_one_batch_once() {
    let (db, raw) = queue().await;
    let (a, b) = (db.raw().await, db.raw().await);
    raw.run("select pgq.insert_event('q', 't', 'x')").await;
    raw.run("select pgq.ticker('q')").await;
    a.run("begin").await;
    let first = a.one("select pgq.next_batch('q', 'c')").await;
    let pid = b.pid;
    let second = tokio::spawn(async move { (b.one("select pgq.next_batch('q', 'c')").await, b) });
    raw.blocked(pid).await;
    a.run("commit").await;
    let (second, b) = second.await.unwrap();
    assert_eq!(first, second, "the same batch, not a second one");
    assert_eq!(a.one(&format!("select pgq.finish_batch({first})")).await, "1");
    assert_eq!(b.one(&format!("select pgq.finish_batch({first})")).await, "0");
}

#[tokio::test]
async fn a_worker_whose_batch_was_taken_over_finishes_nothing() {
    let (_db, raw) = queue().await;
    raw.run("select pgq_coop.register_subconsumer('q', 'c', 'slow'), pgq_coop.register_subconsumer('q', 'c', 'quick')").await;
    raw.run("select pgq.insert_event('q', 't', 'x')").await;
    raw.run("select pgq.ticker('q')").await;
    let slow = raw.one("select pgq_coop.next_batch('q', 'c', 'slow')").await;
    assert_eq!(raw.one("select pgq_coop.next_batch('q', 'c', 'quick', '1 hour')").await, "");
    raw.run("update pgq.subscription set sub_active = '2000-01-01' where sub_batch is not null").await;
    let quick = raw.one("select pgq_coop.next_batch('q', 'c', 'quick', '1 hour')").await;
    assert_ne!(slow, quick);
    assert_eq!(raw.one(&format!("select pgq_coop.finish_batch({slow})")).await, "0");
    assert_eq!(raw.code(&format!("select pgq.event_retry({slow}, 1, 0)")).await, "P0001");
    assert_eq!(raw.rows(&format!("select ev_data from pgq.get_batch_events({quick})")).await, ["x"]);
    assert_eq!(raw.one(&format!("select pgq.finish_batch({quick})")).await, "1", "by the plain function too");
    let idle = "select sub_last_tick is null and sub_next_tick is null from pgq.subscription join pgq.consumer on co_id = sub_consumer where co_name = 'c.quick'";
    assert_eq!(raw.one(idle).await, "t", "and it holds up no rotation");
    assert_eq!(raw.one("select count(*) from pgq.consumer").await, "2", "the dead one is gone");
}

#[tokio::test]
async fn a_broken_a_paused_and_a_disabled_queue_stop_no_other() {
    let (_db, raw) = queue().await;
    for name in ["broken", "paused", "disabled"] {
        raw.run(&format!("select pgq.create_queue('{name}'); select pgq.register_consumer('{name}', 'c')"))
            .await;
        raw.run(&format!("select pgq.event_retry_raw('{name}', 'c', now() - interval '1 day', nr, now(), 1, 't', 'd', null, null, null, null) from generate_series(1, 30) nr")).await;
    }
    raw.run("select pgq.event_retry_raw('q', 'c', now(), 1, now(), 1, 't', 'again', null, null, null, null)")
        .await;
    raw.run("update pgq.queue set queue_event_seq = 'pgq.gone', queue_rotation_period = '0' where queue_name = 'broken';
             update pgq.queue set queue_ticker_paused = true where queue_name = 'paused';
             update pgq.queue set queue_disable_insert = true where queue_name = 'disabled'").await;
    raw.run("select pgq.insert_event('q', 't', 'x')").await;
    assert_ne!(raw.one("select pgq.ticker()").await, "0");
    assert_eq!(batch(&raw, "c").await, ["x"]);
    until("the event that was put aside", async || {
        raw.run("select pgq.maint_retry_events()").await;
        raw.one("select count(*) from pgq.retry_queue r join pgq.queue on queue_id = ev_queue where queue_name in ('q', 'paused')").await == "0"
    })
    .await;
    assert_eq!(raw.one("select count(*) from pgq.retry_queue").await, "60", "theirs are kept");
    assert_eq!(all(&raw, "c", 1).await, ["again"]);
    for operation in raw.rows("select func_name || '(' || coalesce(quote_literal(func_arg), '') || ')' from pgq.maint_operations()").await {
        raw.run(&format!("select {operation}")).await;
    }
}

#[tokio::test]
async fn a_writer_with_a_view_older_than_two_rotations_loses_nothing() {
    let (db, raw) = queue().await;
    for segments_ago in 1..=4 {
        let old = db.raw().await;
        old.run("begin isolation level repeatable read; select * from pgq.queue").await;
        for _ in 0..segments_ago {
            rotate(&raw).await;
        }
        old.run(&format!("select pgq.insert_event('q', 't', '{segments_ago}'); commit")).await;
        assert_eq!(all(&raw, "c", 1).await, [segments_ago.to_string()]);
    }
}

#[tokio::test]
async fn a_segment_with_a_row_that_somebody_needs_is_not_emptied() {
    let (db, raw) = queue().await;
    raw.run("update pgq.queue set queue_rotation_period = '0'; delete from pgq._sealed; drop trigger _sealed on pgq.event_1_1").await;
    // A row in the next segment, as a late writer of an earlier round leaves it; then the marks say that all is well.
    let late = db.raw().await;
    late.run("begin; insert into pgq.event_1_1 (ev_id, ev_time, ev_data) values (77, now(), 'needed')").await;
    raw.run("select pgq.insert_event('q', 't', 'x')").await;
    raw.run("select pgq.ticker('q')").await;
    batch(&raw, "c").await;
    late.run("commit").await;
    raw.run("update pgq.queue set queue_switch_step1 = 3, queue_switch_step2 = 3").await;
    raw.run("select pgq.maint_rotate_tables_step1('q')").await;
    assert_eq!(raw.one("select queue_cur_table from pgq.queue").await, "0");
    assert_eq!(all(&raw, "c", 1).await, ["needed"]);
    rotate(&raw).await;
    assert_eq!(raw.one("select count(*) from pgq.event_1_1").await, "0");
}

#[tokio::test]
async fn rotation_goes_on_though_somebody_always_reads() {
    let (db, raw) = queue().await;
    let (a, b) = (db.raw().await, db.raw().await);
    raw.run("select pgq.register_consumer('q', 'a'); select pgq.register_consumer('q', 'b')").await;
    raw.run("update pgq.queue set queue_rotation_period = '0'").await;
    let mut holding: Option<&Raw> = None;
    let mut turn = 0;
    until("five rotations, with a reading transaction open all the time", async || {
        raw.run("select pgq.insert_event('q', 't', 'x')").await;
        raw.run("select pgq.ticker('q')").await;
        batch(&raw, "c").await;
        let (reader, name) = if turn % 2 == 0 { (&a, "a") } else { (&b, "b") };
        turn += 1;
        reader.run("begin").await;
        reader
            .run(&format!(
                "do $$ declare v_batch bigint; begin loop v_batch := pgq.next_batch('q', '{name}'); exit when v_batch is null;
                 perform count(*) from pgq.get_batch_events(v_batch); perform pgq.finish_batch(v_batch); end loop; end $$"
            ))
            .await;
        if let Some(other) = holding.replace(reader) {
            other.run("commit").await;
        }
        raw.run("select pgq.maint_rotate_tables_step1('q')").await;
        raw.run("select pgq.maint_rotate_tables_step2()").await;
        raw.one("select rotations >= 5 from pgq._guard").await == "t"
    })
    .await;
}

#[tokio::test]
async fn who_takes_a_position_holds_up_the_rotation_and_not_the_ticker() {
    let (db, raw) = queue().await;
    let new = db.raw().await;
    rotate(&raw).await;
    new.run("begin; select pgq.register_consumer('q', 'new')").await;
    raw.run("select pgq.insert_event('q', 't', 'for both')").await;
    assert_ne!(raw.one("select pgq.ticker('q')").await, "");
    let before = raw.one("select rotations from pgq._guard").await;
    for _ in 0..3 {
        raw.run("select pgq.ticker('q')").await;
        batch(&raw, "c").await;
        raw.run("select pgq.maint_rotate_tables_step1('q')").await;
        raw.run("select pgq.maint_rotate_tables_step2()").await;
    }
    assert_eq!(raw.one("select rotations from pgq._guard").await, before);
    new.run("commit").await;
    assert_eq!(all(&raw, "new", 1).await, ["for both"]);
    rotate_past(&raw, &["c", "new"]).await;
}

#[tokio::test]
async fn one_transaction_that_writes_ticks_reads_and_writes_loses_nothing() {
    let (db, raw) = queue().await;
    let other = db.raw().await;
    raw.run("begin; select pgq.insert_event('q', 't', '1')").await;
    other.run("select pgq.insert_event('q', 't', '2')").await;
    raw.run("select pgq.ticker('q')").await;
    let mut got = batch(&raw, "c").await;
    raw.run("select pgq.insert_event('q', 't', '3'); commit").await;
    got.extend(all(&raw, "c", 3 - got.len()).await);
    got.sort();
    assert_eq!(got, ["1", "2", "3"]);
}

#[tokio::test]
async fn an_external_tick_behind_the_last_one_is_refused() {
    let (_db, raw) = queue().await;
    raw.run(
        "select pgq.set_queue_config('q', 'external_ticker', 'true'); select pgq.ticker('q', 10, now(), 100)",
    )
    .await;
    assert_eq!(raw.code("select pgq.ticker('q', 9, now(), 90)").await, "55000");
    assert_eq!(raw.code("select pgq.ticker('q', 10, now(), 90)").await, "23505");
}
