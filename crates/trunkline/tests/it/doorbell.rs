//! The doorbell: producers ring only where somebody sleeps, and nobody who sleeps is forgotten.

use crate::support::{Db, Raw, within};

const SEND: &str = "select trunkline.request_send('work', 'x', wait_for_responder => true)";

/// A sleeper on the door of channel 1, as the engine does it.
async fn sleeper(db: &Db) -> Raw {
    let raw = db.raw().await;
    assert_eq!(raw.one("select trunkline.request_open('work')").await, "1");
    raw.run("listen trunkline_1").await;
    assert_eq!(raw.one("select trunkline._door_hold(1)").await, "t");
    raw
}

#[tokio::test]
async fn a_producer_rings_only_while_somebody_sleeps() {
    let db = Db::new().await;
    let (producer, mut listening) = (db.raw().await, db.raw().await);
    listening.run("listen trunkline_1").await;
    producer.run(SEND).await;
    listening.run("select 1").await;
    assert!(listening.notes.try_recv().is_err(), "it listens and does not sleep");
    let mut asleep = sleeper(&db).await;
    producer.run(SEND).await;
    assert_eq!(within(1_000, "the bell", asleep.notes.recv()).await.unwrap(), "trunkline_1");
    within(1_000, "the bell", listening.notes.recv()).await.unwrap();
    assert_eq!(asleep.one("select trunkline._door_leave(1)").await, "t");
    producer.run(SEND).await;
    asleep.run("select 1").await;
    assert!(asleep.notes.try_recv().is_err());
}

#[tokio::test]
async fn of_two_sleepers_one_dies_and_the_other_is_still_rung() {
    let db = Db::new().await;
    let admin = db.raw().await;
    let (first, mut second) = (sleeper(&db).await, sleeper(&db).await);
    admin.run(&format!("select pg_terminate_backend({})", first.pid)).await;
    admin
        .until(
            "its end",
            &format!("select not exists (select from pg_stat_activity where pid = {})", first.pid),
        )
        .await;
    admin.run(SEND).await;
    within(1_000, "the bell", second.notes.recv()).await.unwrap();
}

#[tokio::test]
async fn many_producers_at_once_ring_every_time() {
    let db = Db::new().await;
    let mut asleep = sleeper(&db).await;
    for _ in 0..20 {
        let mut sending = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let raw = db.raw().await;
            sending.spawn(async move { raw.run(SEND).await });
        }
        sending.join_all().await;
        within(1_000, "the bell", asleep.notes.recv()).await.unwrap();
        asleep.run("select 1").await;
        while asleep.notes.try_recv().is_ok() {}
    }
}

#[tokio::test]
async fn a_stranger_who_holds_the_key_costs_latency_only() {
    let db = Db::new().await;
    let stranger = db.raw().await;
    stranger.run("select pg_advisory_lock(1953656427, g), pg_advisory_lock(1953656428, g) from generate_series(0, 200) g").await;
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    let _serving = crate::requests::echo(&responder, "work");
    crate::requests::served(&db, "work", 1).await;
    for _ in 0..2 {
        within(3_500, "an answer", async { caller.requests().call("work", "x").await }).await.unwrap();
    }
    stranger.run("select pg_advisory_unlock_all()").await;
    stranger.run("select pg_advisory_lock_shared(1953656427, g) from generate_series(0, 200) g").await;
    within(3_500, "an answer", async { caller.requests().call("work", "x").await }).await.unwrap();
}

#[tokio::test]
async fn who_tested_the_door_before_it_was_held_and_commits_later_is_waited_for() {
    let db = Db::new().await;
    let (early, reader) = (db.raw().await, db.raw().await);
    early.run("select trunkline.request_open('work')").await;
    early.run(&format!("begin; {SEND}")).await;
    let mut asleep = sleeper(&db).await;
    let mark = asleep.one("select trunkline._door_mark()").await;
    let xid = early.one("select pg_current_xact_id()").await;
    let left = |waiting: &str, writers: bool| {
        format!("select trunkline._door_unsettled('{mark}'::text::xid8, {waiting}, {writers})::text")
    };
    // Xids are the cluster's: other tests' are in the list as well.
    assert!(asleep.one(&left("null", false)).await.contains(&xid));
    assert_eq!(asleep.one(&left("null", true)).await, format!("{{{xid}}}"));
    early.run("commit").await;
    assert!(asleep.notes.try_recv().is_err(), "it rang nobody");
    assert_eq!(asleep.one(&left(&format!("'{{{xid}}}'"), false)).await, "{}");
    // Who has written nothing is not waited for, once asked so: it finds the door held when it does.
    reader.run("begin; select pg_current_xact_id()").await;
    let xid = reader.one("select pg_current_xact_id()").await;
    let mark = asleep.one("select trunkline._door_mark()").await;
    let sql = |w: bool| format!("select trunkline._door_unsettled('{mark}'::text::xid8, null, {w})::text");
    assert!(asleep.one(&sql(false)).await.contains(&xid));
    assert_eq!(asleep.one(&sql(true)).await, "{}");
    reader.run(&format!("{SEND}; commit")).await;
    within(1_000, "the bell", asleep.notes.recv()).await.unwrap();
}

#[tokio::test]
async fn what_was_sent_while_the_library_fell_asleep_is_found_before_its_poll() {
    let db = Db::new().await;
    let (early, raw) = (db.raw().await, db.raw().await);
    let responder = db.client("responder").await;
    let door = early.one("select trunkline.request_open('work')").await;
    // The door was tested before anybody held it; the commit, silent, comes after.
    early.run(&format!("begin; {SEND}")).await;
    let mut inbox = responder.requests().inbox("work");
    let held = format!(
        "select exists (select from pg_locks where locktype = 'advisory' and classid = 1953656427 and objid = {door} and granted
            and database = (select oid from pg_database where datname = current_database()))"
    );
    raw.until("the door to be held", &held).await;
    early.run("commit").await;
    within(500, "what was sent", inbox.next()).await.unwrap();
}
