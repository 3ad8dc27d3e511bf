//! A consumer that sleeps for half a minute hears of all that it could take, whoever brings that about.

use tokio::task::JoinHandle;
use trunkline::{
    ErrorKind, Result, Trunkline,
    streams::{Batch, Consumer, Position},
};

use crate::support::{Db, Process, Raw, secs, within};

/// The first minute of the first session is watched for what a crash may have left: let it be over.
const LONG_AGO: &str = "update trunkline.session set opened_at = opened_at - interval '2 minutes'";
const SILENT: &str =
    "set trunkline.ring = off; select trunkline.stream_append('orders', 'x'); reset trunkline.ring";

/// A database with a stream "orders" and a consumer "c", a client of it, and a session besides.
async fn orders() -> (Db, Trunkline, Raw) {
    let db = Db::new().await;
    let tl = db.client("client").await;
    tl.streams().open("orders").await.unwrap();
    tl.streams().register("orders", "c", Position::End).await.unwrap();
    let raw = db.raw().await;
    raw.run(LONG_AGO).await;
    (db, tl, raw)
}

fn spawn(mut consumer: Consumer) -> JoinHandle<Result<Batch>> {
    tokio::spawn(async move { consumer.next().await })
}

/// Waits until a process asks nothing any more.
async fn silent(raw: &Raw, application: &str) {
    raw.until(
        "it to sleep soundly",
        &format!(
            "select bool_and(clock_timestamp() - query_start > interval '2.5 s' and state = 'idle')
               from pg_stat_activity where datname = current_database() and application_name = '{application}'"
        ),
    )
    .await;
}

async fn comes(next: JoinHandle<Result<Batch>>, what: &str) -> Batch {
    within(3_000, what, next).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_stream_that_ticks_by_itself_again_wakes_who_sleeps() {
    let (_db, tl, raw) = orders().await;
    raw.run("select trunkline.stream_set('orders', 'tick_mode', 'paused')").await;
    raw.run("select trunkline.stream_append('orders', 'x')").await;
    let next = spawn(tl.streams().consumer("orders", "c"));
    silent(&raw, "client").await;
    raw.run("select trunkline.stream_set('orders', 'tick_mode', 'auto')").await;
    comes(next, "the event").await;
}

#[tokio::test]
async fn what_another_ticked_in_the_midst_of_a_look_is_found_by_it() {
    let (db, tl, raw) = orders().await;
    let ticker = db.raw().await;
    let client: i32 = db.backend(&raw, "client").await;
    for round in 0..3 {
        let next = spawn(tl.streams().consumer("orders", "c"));
        silent(&raw, "client").await;
        raw.run(SILENT).await;
        ticker.run("begin; select trunkline._stream_tick(id, true, false) from trunkline.stream").await;
        raw.run("select trunkline._door_ring(-1 - (id & 63)) from trunkline.stream").await;
        raw.blocked(client).await;
        ticker.run("commit").await;
        let batch = comes(next, &format!("the event, round {round}")).await;
        batch.finish().await.unwrap();
    }
}

#[tokio::test]
async fn whoever_waits_for_a_consumer_that_is_removed_is_told() {
    let (_db, tl, raw) = orders().await;
    let next = spawn(tl.streams().consumer("orders", "c"));
    silent(&raw, "client").await;
    raw.run("select trunkline.stream_unregister('orders', 'c')").await;
    let e = within(3_000, "the end", next).await.unwrap().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_consumer_that_is_removed_and_there_again_goes_on() {
    let (_db, tl, raw) = orders().await;
    let next = spawn(tl.streams().consumer("orders", "c"));
    silent(&raw, "client").await;
    raw.run("select trunkline.stream_unregister('orders', 'c'), trunkline.stream_register('orders', 'c')")
        .await;
    raw.run("select trunkline.stream_append('orders', 'x')").await;
    comes(next, "the event").await;
}

#[tokio::test]
async fn a_batch_that_a_long_transaction_did_not_finish_after_all_is_handed_on() {
    let (db, tl, raw) = orders().await;
    let other = db.client("other").await;
    tl.streams().append("orders", "x").await.unwrap();
    let mut consumer = tl.streams().consumer("orders", "c");
    let batch = within(5_000, "a batch", consumer.next()).await.unwrap();
    let finisher = db.raw().await;
    finisher.run(&format!("begin; select trunkline.stream_finish('{}')", batch.token())).await;
    drop((batch, consumer));
    raw.run("select pg_sleep(4)").await; // longer than who hands it back is in a hurry
    finisher.run("rollback").await;
    let next = spawn(other.streams().consumer("orders", "c"));
    comes(next, "the batch").await;
}

#[tokio::test]
async fn who_sleeps_hears_at_once_after_a_reconnect() {
    let (db, tl, raw) = orders().await;
    let next = spawn(tl.streams().consumer("orders", "c"));
    silent(&raw, "client").await;
    raw.run(SILENT).await;
    raw.run(&format!("select pg_terminate_backend({})", db.backend(&raw, "client").await)).await;
    comes(next, "the event").await;
}

#[tokio::test]
async fn a_batch_that_is_kept_without_its_consumer_keeps_the_process_busy() {
    let (_db, tl, raw) = orders().await;
    tl.streams().append("orders", "x").await.unwrap();
    let mut consumer = tl.streams().consumer("orders", "c");
    let batch = within(5_000, "a batch", consumer.next()).await.unwrap();
    drop(consumer);
    raw.run("select pg_sleep(8)").await;
    assert_eq!(raw.one("select bool_or(rests) from trunkline.session").await, "f");
    drop(batch);
    raw.until("it to be at rest", "select bool_and(rests) from trunkline.session").await;
}

#[tokio::test]
async fn what_a_session_of_plain_sql_puts_off_comes_to_who_sleeps() {
    let (db, tl, raw) = orders().await;
    for close in [true, false] {
        let next = spawn(tl.streams().consumer("orders", "c"));
        silent(&raw, "client").await;
        raw.run(SILENT).await;
        let sql = db.raw().await;
        sql.run(
            "do $$ declare b text; begin
                 b := (select batch from trunkline.stream_next_batch('orders', 'c'));
                 perform trunkline.stream_retry(b, array(select id from trunkline.stream_events(b)), '2 s');
                 perform trunkline.stream_finish(b);
             end $$",
        )
        .await;
        if close {
            drop(sql);
        }
        let batch = within(5_000, "what was put off", next).await.unwrap().unwrap();
        assert_eq!(batch.events()[0].attempt, 2);
        batch.finish().await.unwrap();
    }
}

#[tokio::test]
async fn what_one_at_rest_took_and_froze_is_anothers_after_five_seconds() {
    let (db, tl, raw) = orders().await;
    tl.streams().append("orders", "x").await.unwrap();
    let mut consumer = tl.streams().consumer("orders", "c");
    let batch = within(5_000, "a batch", consumer.next()).await.unwrap();
    batch.retry(&[batch.events()[0].id], secs(14), None).await.unwrap();
    batch.finish().await.unwrap();
    drop((batch, consumer));
    let child = Process::start("consumer", &db).await;
    raw.until("both to be at rest", "select bool_and(rests) from trunkline.session").await;
    let pid: i32 = raw
        .one("select s.pid from trunkline.session s join pg_stat_activity a using (pid) where a.application_name <> 'client'")
        .await
        .parse()
        .unwrap();
    silent(&raw, &raw.one(&format!("select application_name from pg_stat_activity where pid = {pid}")).await)
        .await;
    let lock = db.raw().await;
    lock.run("begin; lock table trunkline.stream_take in share mode").await;
    raw.blocked(pid).await;
    crate::support::signal(child.pid(), "-STOP");
    lock.run("rollback").await;
    raw.until("it to be taken", "select exists (select from trunkline.stream_take where again <> '{}')")
        .await;
    let next = spawn(tl.streams().consumer("orders", "c"));
    let batch = within(9_000, "the batch", next).await.unwrap().unwrap();
    assert_eq!(batch.attempt(), 2);
}

#[tokio::test]
async fn what_a_look_took_that_nobody_waits_for_any_more_comes_with_the_next() {
    let (db, tl, raw) = orders().await;
    let _watcher = db.client("watcher").await;
    raw.run(LONG_AGO).await;
    let client = db.backend(&raw, "client").await;
    tl.streams().append("orders", "x").await.unwrap();
    let mut consumer = tl.streams().consumer("orders", "c");
    let batch = within(5_000, "a batch", consumer.next()).await.unwrap();
    batch.retry(&[batch.events()[0].id], secs(12), None).await.unwrap();
    batch.finish().await.unwrap();
    drop(batch);
    let (cancel, cancelled) = tokio::sync::oneshot::channel::<()>();
    let next = tokio::spawn(async move {
        tokio::select! {
            _ = consumer.next() => panic!("too early"),
            _ = cancelled => consumer,
        }
    });
    raw.until("it to be at rest", "select bool_and(rests) from trunkline.session").await;
    let session = "select string_agg(id::text, ' ' order by id) from trunkline.session";
    let before = raw.one(session).await;
    let lock = db.raw().await;
    lock.run("begin; lock table trunkline.stream_take in share mode").await;
    raw.blocked(client).await;
    cancel.send(()).unwrap();
    let mut consumer = next.await.unwrap();
    lock.run("rollback").await;
    raw.run("select pg_sleep(8)").await; // longer than who is busy may say nothing
    assert_eq!(raw.one(session).await, before, "it was not buried");
    assert_eq!(raw.one("select bool_and(rests) from trunkline.session").await, "f");
    let batch = within(1_000, "the batch", consumer.next()).await.unwrap();
    assert_eq!((batch.attempt(), batch.events()[0].attempt), (2, 2));
    batch.finish().await.unwrap();
}
