//! The ring of jobs: it turns, is emptied, and what keeps it goes to where jobs are held; nothing is lost or doubled by that.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::Semaphore;
use trunkline::{
    jobs::{Job, Work},
    requests::Failure,
};

use crate::support::{Db, Raw, until, within};

/// Pushes so many jobs of text, in one statement.
async fn push(raw: &Raw, from: u32, upto: u32) {
    raw.run(&format!(
        "select trunkline.job_push_many('q', array(select n::text from generate_series({from}, {upto}) n))"
    ))
    .await;
}

/// Turns the durable ring, whatever its size: what that did.
async fn turn(raw: &Raw, patience: &str) -> String {
    raw.one(&format!("select coalesce(trunkline._job_turn_d(1, '{patience}'), '')")).await
}

/// Jobs by state, as `state:count`.
async fn counts(raw: &Raw) -> String {
    raw.one("select string_agg(s, ' ' order by s) from (select job_state || ':' || count(*) as s from trunkline.job_list(max => 100000) group by job_state) c")
        .await
}

#[tokio::test]
async fn a_segment_is_emptied_when_all_of_it_was_done_and_not_before() {
    let db = Db::new().await;
    let raw = db.raw().await;
    push(&raw, 1, 10).await;
    assert_eq!(turn(&raw, "1 hour").await, "turned");
    push(&raw, 11, 15).await;
    raw.run("update trunkline.ring set turned_at = turned_at - interval '1 minute'").await;
    assert_eq!(turn(&raw, "1 hour").await, "", "nothing was taken yet");
    raw.run("create table public.took as select * from trunkline.job_take('q', 4)").await;
    assert_eq!(turn(&raw, "1 hour").await, "");
    raw.run("insert into public.took select * from trunkline.job_take('q', 100)").await;
    assert_eq!(turn(&raw, "1 hour").await, "", "they run");
    assert_eq!(
        raw.one("select string_agg(payload, ',' order by id) from public.took").await,
        "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
    );
    raw.run("select trunkline.job_complete(claim) from public.took where payload::int <= 9").await;
    assert_eq!(turn(&raw, "1 hour").await, "", "one runs");
    assert_eq!(counts(&raw).await, "done:9 running:6");
    raw.run("select trunkline.job_complete(claim) from public.took where payload::int > 9").await;
    let other = db.raw().await;
    other.run("begin; select * from trunkline.job_d0").await;
    assert_eq!(turn(&raw, "1 hour").await, "busy", "somebody reads it");
    other.run("rollback").await;
    assert_eq!(turn(&raw, "1 hour").await, "emptied");
    assert_eq!(counts(&raw).await, "done:5");
}

#[tokio::test]
async fn whether_a_segment_can_be_emptied_is_asked_of_few_rows() {
    let db = Db::new().await;
    let (raw, other, tl) = (db.raw().await, db.raw().await, db.client("client").await);
    raw.run("set track_functions = 'pl'").await;
    other.run("begin; select pg_current_xact_id()").await; // every snapshot has one that is open
    push(&raw, 1, 20_000).await;
    for options in [Work::queue("q").concurrency(1).at_most(300), Work::queue("q").concurrency(1000).drain()]
    {
        tl.jobs().work(options, async |_: Job| Ok::<_, Failure>(())).ended().await.unwrap();
    }
    raw.run("analyze trunkline.job_d0, trunkline.job_slice_d0, trunkline.job_done_d0, trunkline.job_end_d0, trunkline.job_priority")
        .await;
    raw.run("select pg_stat_force_next_flush()").await; // what was read before is not counted
    raw.run("begin").await;
    assert_eq!(raw.one("select trunkline._job_untaken_d0()::text").await, "{}");
    let read =
        "select sum(idx_tup_fetch + seq_tup_read) from pg_stat_xact_user_tables where relname = 'job_d0'";
    assert!(raw.one(read).await.parse::<f64>().unwrap() < 100.0, "{} jobs read", raw.one(read).await);
    assert_eq!(raw.one("select trunkline._job_empty_d0()").await, "t");
    let asked = "select coalesce(sum(calls), 0) from pg_stat_xact_user_functions where funcname = '_job_open_slots_d0'";
    assert!(
        raw.one(asked).await.parse::<f64>().unwrap() < 100.0,
        "{} slices looked at",
        raw.one(asked).await
    );
    raw.run("commit").await;
}

#[tokio::test]
async fn a_writer_that_began_before_the_turn_loses_nothing() {
    let db = Db::new().await;
    let (raw, slow) = (db.raw().await, db.raw().await);
    push(&raw, 1, 1).await;
    slow.run("begin isolation level repeatable read; select trunkline.job_push('q', 'slow')").await;
    assert_eq!(turn(&raw, "1 hour").await, "turned");
    raw.run("update trunkline.ring set turned_at = turned_at - interval '1 minute'").await;
    raw.run("select trunkline.job_complete(claim) from trunkline.job_take('q', 9)").await;
    assert_eq!(turn(&raw, "1 hour").await, "busy", "its transaction is open");
    slow.run("select trunkline.job_push('q', 'slower'); commit").await;
    assert_eq!(turn(&raw, "1 hour").await, "");
    let taken = "select string_agg(payload, ',' order by id) from trunkline.job_take('q', 9)";
    assert_eq!(raw.one(taken).await, "slow,slower");
}

#[tokio::test]
async fn what_keeps_a_segment_for_too_long_is_held_and_its_holder_ends_it_there() {
    let db = Db::new().await;
    let (raw, tl) = (db.raw().await, db.client("client").await);
    push(&raw, 1, 8).await;
    let gate = Arc::new(Semaphore::new(0));
    let runs: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
    let (inner, count) = (gate.clone(), runs.clone());
    let working = tl.jobs().work(Work::queue("q").concurrency(4), move |job: Job| {
        let gate = inner.clone();
        *count.lock().unwrap().entry(job.payload.text().unwrap().to_owned()).or_default() += 1;
        async move {
            gate.acquire().await.unwrap().forget();
            if job.payload.text().unwrap() == "2" { Err(Failure::new("no", "")) } else { Ok(()) }
        }
    });
    raw.until("four to run", "select running = 4 from trunkline.job_queues()").await;
    raw.run("select trunkline.job_pause('q')").await;
    assert_eq!(turn(&raw, "0").await, "turned");
    let held = "select string_agg(state::text, ',' order by id) from trunkline.job_held";
    until("the segment to be emptied", async || {
        let _ = turn(&raw, "0").await;
        raw.one(&format!("select (({held}) = '1,1,1,1,0,0,0,0')::text")).await == "true"
    })
    .await;
    assert_eq!(turn(&raw, "0").await, "");
    assert_eq!(raw.one("select pg_relation_size('trunkline.job_d0')").await, "0");
    assert_eq!(counts(&raw).await, "running:4 waiting:4");
    gate.add_permits(100);
    raw.until("those that ran to have ended", &format!("select ({held}) = '4,0,4,4,0,0,0,0'")).await;
    assert_eq!(counts(&raw).await, "done:3 retrying:1 waiting:4");
    raw.run("select trunkline.job_resume('q')").await;
    raw.until("the rest to be done", "select done = 7 from trunkline.job_queues()").await;
    within(5_000, "the worker to stop", working.stop()).await.unwrap();
    assert!(runs.lock().unwrap().values().all(|n| *n == 1), "each ran once: {runs:?}");
}

#[tokio::test]
async fn what_was_cancelled_while_it_waited_is_cancelled_where_it_is_held() {
    let db = Db::new().await;
    let raw = db.raw().await;
    push(&raw, 1, 3).await;
    let middle = "(select id from trunkline.job_list('q') order by id offset 1 limit 1)";
    raw.run(&format!("select trunkline.job_cancel({middle})")).await;
    assert_eq!(turn(&raw, "0").await, "turned");
    assert_eq!(turn(&raw, "0").await, "emptied");
    assert_eq!(counts(&raw).await, "cancelled:1 waiting:2");
    assert_eq!(
        raw.one("select string_agg(payload, ',' order by id) from trunkline.job_take('q', 9)").await,
        "1,3"
    );
}

#[tokio::test]
async fn at_every_isolation_level_a_cursor_is_followed_once() {
    let db = Db::new().await;
    let (raw, a, b) = (db.raw().await, db.raw().await, db.raw().await);
    push(&raw, 1, 10).await;
    for session in [&a, &b] {
        assert_eq!(
            session
                .code("begin isolation level repeatable read; select * from trunkline.job_take('q', 5)")
                .await,
            "25001"
        );
        session.run("rollback").await;
    }
    a.run("begin; create table public.took as select * from trunkline.job_take('q', 5)").await;
    assert_eq!(b.rows("select payload from trunkline.job_take('q', 5)").await.len(), 0, "somebody is taking");
    a.run("commit").await;
    assert_eq!(b.rows("select payload from trunkline.job_take('q', 9)").await, ["6", "7", "8", "9", "10"]);
    b.run("begin isolation level serializable; select 1").await;
    raw.run("select trunkline.job_complete(claim) from public.took where payload = '1'").await;
    let refused = ["TL001", "40001"];
    let twice = "select trunkline.job_complete(claim) from public.took where payload = '1'";
    assert!(refused.contains(&&*b.code(twice).await));
    b.run("rollback; begin isolation level repeatable read; select 1").await;
    raw.run("select trunkline.job_fail(claim, 'x') from public.took where payload = '2'").await;
    let late = "select trunkline.job_complete(claim) from public.took where payload = '2'";
    assert!(refused.contains(&&*b.code(late).await));
    b.run("rollback").await;
}
