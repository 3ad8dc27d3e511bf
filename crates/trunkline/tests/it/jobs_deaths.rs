//! What happens to jobs when their worker dies, stands still, or is cut off.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::mpsc;
use trunkline::{
    Trunkline,
    jobs::{Job, NewJob, Work},
    requests::{Failure, Payload},
};
use trunkline_embedded::Mode;

use crate::{
    jobs::{asleep, one},
    support::{Cluster, Db, Process, Stopwatch, say, secs, signal, until, within},
    wire::Wire,
};

/// A process that takes jobs and never ends them.
pub async fn holder(me: &Trunkline) {
    say("ready");
    let _working = me.jobs().work("q", |job: Job| async move {
        say(&format!("took {}", job.id));
        std::future::pending::<Result<(), Failure>>().await
    });
    std::future::pending::<()>().await;
}

/// A process that takes one, and ends it when its parent lets go of a key; stopped meanwhile, it is too late.
pub async fn late(me: &Trunkline, db: &Db) {
    say("ready");
    let url = db.clone();
    let working = me.jobs().work("q", move |job: Job| {
        let db = url.clone();
        async move {
            say(&format!("took {}", job.id));
            db.raw().await.run("select pg_advisory_lock(7)").await;
            job.cancelled().await;
            say("told");
            Ok::<_, Failure>(Payload::from("late"))
        }
    });
    db.raw().await.run("select pg_advisory_lock(8)").await;
    let _ = working.stop().await;
    say("stopped");
}

#[tokio::test]
async fn the_job_of_a_killed_worker_runs_again_within_two_seconds_and_the_attempt_counts() {
    let (db, tl, raw) = one().await;
    let ids = tl.jobs().push_all("q", [NewJob::new("ring"), NewJob::new("held").key("k")]).await.unwrap();
    let mut child = Process::start("jobber", &db).await;
    child.line("took").await;
    child.line("took").await;
    let (sent, mut done) = mpsc::unbounded_channel();
    let _working = tl.jobs().work("q", move |job: Job| {
        let sent = sent.clone();
        async move { sent.send((job.id, job.attempt)).map_err(|_| Failure::new("gone", "")) }
    });
    asleep(&raw, "client").await;
    child.child.kill().await.unwrap();
    let watch = Stopwatch::start();
    let mut again = Vec::new();
    for _ in 0..2 {
        again.push(within(5_000, "the job again", done.recv()).await.unwrap());
    }
    assert!(watch.elapsed() < secs(2), "{:?}", watch.elapsed());
    again.sort();
    assert_eq!(again, [(ids[0], 2), (ids[1], 2)]);
}

#[tokio::test]
async fn a_stopped_workers_job_runs_again_after_its_lease_and_its_late_end_is_refused() {
    let (db, tl, raw) = one().await;
    raw.run("select pg_advisory_lock(7), pg_advisory_lock(8)").await;
    let id = tl.jobs().push("q", "x").await.unwrap();
    let mut child = Process::start("late-jobber", &db).await;
    child.line("took").await;
    signal(child.pid(), "-STOP");
    let (sent, mut done) = mpsc::unbounded_channel();
    let _working = tl.jobs().work("q", move |job: Job| {
        let sent = sent.clone();
        async move {
            sent.send(job.attempt).unwrap();
            Ok::<_, Failure>(Payload::from("mine"))
        }
    });
    assert_eq!(within(8_000, "the job again", done.recv()).await, Some(2));
    raw.until("it to be done", &format!("select state = 'done' from trunkline.job_show({id})")).await;
    signal(child.pid(), "-CONT");
    raw.run("select pg_advisory_unlock(7)").await;
    child.line("told").await;
    raw.run("select pg_advisory_unlock(8)").await;
    child.line("stopped").await;
    assert_eq!(
        raw.one(&format!("select concat_ws(' ', state, attempt, result) from trunkline.job_show({id})"))
            .await,
        "done 2 mine"
    );
}

/// The network parts, nobody's connection ends, and when it is whole again all that was said meanwhile arrives.
#[tokio::test]
async fn a_parted_workers_jobs_run_again_after_its_lease_and_what_arrives_late_is_refused() {
    let (db, tl, raw) = one().await;
    let wire = Wire::new(&db);
    let parted = wire.client("parted").await;
    let job = |n: usize| NewJob::new(if n < 3 { "ends" } else { "waits" });
    let jobs = (0..6).map(|n| if n % 2 == 0 { job(n) } else { job(n).key(format!("k{n}")) });
    let mut ids = tl.jobs().push_all("q", jobs).await.unwrap();
    ids.sort_unstable();
    let ((took, mut begun), go) = (mpsc::unbounded_channel(), tokio::sync::watch::Sender::new(false));
    let (told, mut late) = mpsc::unbounded_channel();
    let going = go.clone();
    let working = parted.jobs().work(Work::queue("q").concurrency(6), move |job: Job| {
        let (took, told, mut go) = (took.clone(), told.clone(), going.subscribe());
        async move {
            took.send(job.id).unwrap();
            if job.payload.text().unwrap() == "ends" {
                go.wait_for(|go| *go).await.unwrap();
            } else {
                job.cancelled().await;
                told.send(job.id).unwrap();
            }
            Ok::<_, Failure>(Payload::from("late"))
        }
    });
    for _ in &ids {
        within(5_000, "the parted one to begin", begun.recv()).await.unwrap();
    }
    wire.stand_still(true);
    go.send_replace(true); // their ends are on their way
    let (sent, mut again) = mpsc::unbounded_channel();
    let _working = tl.jobs().work("q", move |job: Job| {
        let sent = sent.clone();
        async move {
            sent.send((job.id, job.attempt)).unwrap();
            Ok::<_, Failure>(Payload::from("mine"))
        }
    });
    let mut others = Vec::new();
    for _ in &ids {
        others.push(within(8_000, "each again", again.recv()).await.unwrap());
    }
    others.sort_unstable();
    assert_eq!(others, ids.iter().map(|id| (*id, 2)).collect::<Vec<_>>());
    let done = "select count(*) = 6 from trunkline.job where state = 'done' and attempt = 2";
    raw.until("all to be done", done).await;
    wire.stand_still(false);
    for _ in 0..3 {
        within(10_000, "its handlers to be told", late.recv()).await.unwrap();
    }
    // Whatever it had said has been answered once it is here again, and has ended.
    within(10_000, "it to end", working.stop()).await.unwrap();
    parted.close().await;
    let as_it_was =
        "select count(*) from trunkline.job where state = 'done' and attempt = 2 and result = 'mine'";
    assert_eq!(raw.one(as_it_was).await, "6");
    assert!(again.try_recv().is_err(), "nothing ran once more");
}

#[tokio::test]
async fn a_crash_takes_what_waits_in_a_queue_that_is_not_durable_and_its_workers_go_on() {
    let (mut cluster, db) = Cluster::own().await;
    let (raw, tl) = (db.raw().await, db.client("client").await);
    raw.run("select trunkline.job_open('kept'), trunkline.job_open('fast', durable => false)").await;
    raw.run("select trunkline.job_pause(q) from unnest(array['kept', 'fast']) q").await;
    let (sent, mut done) = mpsc::unbounded_channel();
    let _working = tl.jobs().work(Work::queue("kept").and("fast"), move |job: Job| {
        let sent = sent.clone();
        async move { sent.send(job.payload.text().unwrap().to_owned()).map_err(|_| Failure::new("gone", "")) }
    });
    raw.run("select trunkline.job_push(q, q || ' in the ring'), trunkline.job_push(q, q || ' held', key => 'k') from unnest(array['kept', 'fast']) q")
        .await;
    let crashed = tokio::task::spawn_blocking(move || {
        cluster.server.stop(Mode::Immediate).unwrap();
        cluster.restart();
        cluster
    });
    let _cluster = crashed.await.unwrap();
    let raw = db.raw().await;
    let left = "select string_agg(payload, ', ' order by payload) from trunkline.job";
    assert_eq!(raw.one(left).await, "fast held, kept held, kept in the ring");
    raw.run("select trunkline.job_push('fast', 'fast after it')").await;
    raw.run("select trunkline.job_resume(q) from unnest(array['kept', 'fast']) q").await;
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(within(10_000, "each to be done", done.recv()).await.unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, ["fast after it", "fast held", "kept held", "kept in the ring"]);
}

#[tokio::test]
async fn ends_that_a_broken_connection_left_in_doubt_are_written_and_counted_once() {
    let db = Db::new().await; // and no other process that would bury the worker's session while it reconnects
    let (raw, total) = (db.raw().await, 3000);
    raw.run(&format!(
        "select trunkline.job_push_many('q', array(select n::text from generate_series(1, {total}) n))"
    ))
    .await;
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let worker = db.client("worker").await;
    let working = worker.jobs().work(Work::queue("q").concurrency(40), move |_: Job| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, Failure>(()) }
    });
    for _ in 0..5 {
        let before = seen.load(Ordering::Relaxed);
        until("some to be done", async || {
            seen.load(Ordering::Relaxed) > before + 100 || seen.load(Ordering::Relaxed) >= total
        })
        .await;
        raw.rows("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'worker' and datname = current_database()").await;
    }
    raw.until(
        "all to be done",
        "select count(*) = 3000 from trunkline.job_list('q', max => 10000) where job_state = 'done'",
    )
    .await;
    working.stop().await.unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), total, "no job ran twice: the session lived on");
    assert_eq!(raw.one("select count(*) from trunkline.job_held").await, "0", "nor was any moved");
}
