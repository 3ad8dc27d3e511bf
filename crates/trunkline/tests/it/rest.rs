//! Rest: who has nothing in hand asks next to nothing of the database, and who has is watched by all.

use std::{future::IntoFuture as _, sync::Arc};

use tokio::{sync::Notify, time::Instant};
use trunkline::jobs::Job;

use crate::support::{Db, Raw, within};

/// The first minute of the first session is watched for what a crash may have left: let it be over.
const LONG_AGO: &str = "update trunkline.session set opened_at = opened_at - interval '2 minutes'";

/// So many sessions are at rest, and so many hold the door of the watch.
async fn at_rest(raw: &Raw, processes: usize) {
    raw.run(LONG_AGO).await;
    let rest = format!("select count(*) = {processes} from trunkline.session where rests");
    raw.until("them to be at rest", &rest).await;
    watching(raw, processes).await;
}

/// So many have the door of the watch, so that they hear of whoever has something in hand.
async fn watching(raw: &Raw, processes: usize) {
    let held = format!(
        "select count(*) = {processes} from pg_locks where locktype = 'advisory' and granted and classid = 1953656427
            and objid::bigint = 4294967296 - 130 and database = (select oid from pg_database where datname = current_database())"
    );
    raw.until("the door of the watch to be held", &held).await;
}

#[tokio::test]
async fn a_worker_that_sleeps_asks_next_to_nothing() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run(&format!("alter database {} set track_functions = 'all'", db.name)).await;
    let worker = db.client("worker").await;
    let _working = worker.jobs().work("q", async |_: Job| Ok(()));
    crate::jobs::asleep(&raw, "worker").await;
    at_rest(&raw, 1).await;
    let calls = async || {
        let sql = "select coalesce(sum(calls), 0) from pg_stat_user_functions where funcname in
                    ('_session_renew', '_session_reap', '_job_take', '_job_attend', '_door_hold', '_door_unsettled')";
        raw.one(sql).await.parse::<i64>().unwrap()
    };
    // Sessions tell what they did a second late at most; then ten seconds in which nothing is to happen.
    raw.run("select pg_sleep(2)").await;
    let (before, since) = (calls().await, Instant::now());
    raw.run("select pg_sleep(10)").await;
    let asked = calls().await - before;
    assert!(before > 0, "nothing was counted");
    assert!(asked <= 3, "{asked} calls in {:?}", since.elapsed());
}

#[tokio::test]
async fn who_takes_a_job_has_a_short_lease_and_wakes_those_who_watch() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let (one, two) = (db.client("one").await, db.client("two").await);
    let go = Arc::new(Notify::new());
    let workings = [&one, &two].map(|client| {
        let go = go.clone();
        client.jobs().work("q", move |_: Job| {
            let go = go.clone();
            async move {
                go.notified().await;
                Ok(())
            }
        })
    });
    at_rest(&raw, 2).await;
    raw.run("select trunkline.job_push('q', 'x')").await;
    // The bell woke both; the one that found nothing rests again after a while.
    let short = "select count(*) = 1 and max(expires_at) < clock_timestamp() + interval '5 s' from trunkline.session where not rests";
    raw.until("it to run", "select state = 'running' from trunkline.job").await;
    raw.until("one to be busy", short).await;
    watching(&raw, 1).await; // by who has the job: the other one looks each second
    go.notify_waiters();
    at_rest(&raw, 2).await;
    drop(workings);
}

#[tokio::test]
async fn the_doors_of_sessions_that_are_gone_are_left() {
    let db = Db::new().await;
    let (raw, one) = (db.raw().await, db.client("one").await);
    let mut lease = one.leases().acquire("l").await.unwrap();
    raw.run(LONG_AGO).await;
    for n in 0..5 {
        // Its session is gone for good, and its next one has another door.
        let gone = "with gone as (delete from trunkline.session returning id, pid) select id, pg_terminate_backend(pid) from gone";
        let old = raw.one(gone).await;
        lease.lost().await;
        lease = within(5000, "the lease again", one.leases().acquire("l").into_future()).await.unwrap();
        assert_ne!(old, raw.one("select max(id) || '|t' from trunkline.session").await, "round {n}");
    }
    // The last session's, and the one's before it until there is something to look for.
    let few = "select count(*) <= 2 from pg_locks
                where locktype = 'advisory' and classid = 1953656427 and granted
                  and objid::bigint between 4294967296 - 200 and 4294967296 - 131
                  and database = (select oid from pg_database where datname = current_database())";
    raw.until("the old doors to be left", few).await;
}
