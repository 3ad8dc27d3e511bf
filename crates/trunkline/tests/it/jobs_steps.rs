//! Whoever has a job, killed, frozen and cut off at each step of it; and the server crashed there.
//!
//! A worker's process is held at its step by a gate, a trigger in which its statement waits until the test opens it, or by
//! its handler. There something happens to it, and the gate opens: what it had sent is carried out, but where its backend or
//! the server ended. Another worker is there all the while. Each job lies in the ring, or is held because it has a key.
//!
//! On which attempt the job is done (every one is, and no attempt is made twice; its effect is there once):
//!
//! | step | KILL | STOP past the lease, CONT | cut, its backend goes on | backend terminated | server crashed |
//! |---|---|---|---|---|---|
//! | take, in flight | 2 | 2; its late end is refused | 1, or 2 where its session was buried | the same | the same |
//! | handler runs | 2 | 2; its late end is refused | 1 or 2 | 1 or 2 | 1 or 2 |
//! | handler, with writes in its transaction | 2 | 2; its `complete_on` is refused | 2 | 2 | 2 |
//! | done, in flight | 1 | 1 | 1 | 1 or 2 | 1 or 2 |
//! | failed, in flight | 2 | 2 | 2 | 2 | 2 |
//! | `complete_on`, in flight; between it and the commit | 2 | 1: a burial waits for it | 2 | 2 | 2 |
//! | commit, in flight | 1 | 1 | 1 | 2 | 2 |
//! | take of the second attempt | 3 | 3; its late end is refused | 2 or 3 | 2 | 2 |
//! | a dead worker's burial, by the victim | 2 | 2 | 2 | 2 | 2 |

mod cell;
mod worker;

use futures_util::{StreamExt, future::join_all, stream};
use trunkline_embedded::Mode;

use self::cell::{Cell, Count, Fault, Step};
pub use self::worker::{counter, worker};
use crate::{
    jobs_storm::Dice,
    support::{Cluster, Db, Process, Raw, Stopwatch, millis, say, until},
};

/// Every step, in the ring and held: so many at once.
async fn matrix(fault: Fault, at_once: usize) -> Count {
    let cells = Step::ALL.into_iter().flat_map(|step| [(step, false), (step, true)]);
    let cells = cells
        .map(|(step, held)| async move { Cell::at(Db::new().await, step, fault, held).await.strike().await });
    let mut counts = stream::iter(cells).buffer_unordered(at_once);
    let mut sum = Count::default();
    while let Some(count) = counts.next().await {
        sum.add(count);
    }
    assert_eq!(sum.cells, 20);
    sum
}

#[tokio::test]
async fn a_worker_killed_at_any_step_loses_and_doubles_nothing_and_its_jobs_run_again_within_two_seconds() {
    let count = matrix(Fault::Kill, 10).await;
    say(&count.line("killed"));
    assert!(count.reruns.len() > 30 && count.rerun() < millis(2_000), "{count:?}");
}

#[tokio::test]
async fn a_worker_frozen_past_its_lease_at_any_step_is_refused_its_late_ends_and_all_is_done_once() {
    let count = matrix(Fault::Stop, 20).await;
    say(&count.line("stopped"));
    assert!(count.stale >= 8 && count.refused >= 16, "{count:?}");
    assert!(count.reruns.len() > 30 && count.rerun() < millis(6_000), "{count:?}");
}

#[tokio::test]
async fn a_worker_cut_off_at_any_step_loses_and_doubles_nothing() {
    say(&matrix(Fault::Cut, 10).await.line("cut off"));
}

#[tokio::test]
async fn a_worker_whose_backends_end_at_any_step_loses_and_doubles_nothing() {
    say(&matrix(Fault::Terminate, 10).await.line("backends terminated"));
}

#[tokio::test]
async fn a_crash_of_the_server_at_any_step_loses_and_doubles_nothing() {
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(false)).await.unwrap();
    cluster.database("template_own").await;
    let admin = Raw::open(&cluster.server.url()).await;
    let mut cells = Vec::new();
    for (step, held) in Step::ALL.into_iter().flat_map(|step| [(step, false), (step, true)]) {
        let name = format!("own_{}", cells.len());
        admin.run(&format!("create database {name} template template_own")).await;
        let db = Db { url: cluster.server.url_for(&name), name, postmaster: cluster.server.pid() };
        cells.push(Cell::at(db, step, Fault::Crash, held));
    }
    let cells = join_all(cells).await;
    let since = Stopwatch::start();
    let restarted = tokio::task::spawn_blocking(move || {
        let mut cluster = cluster;
        cluster.server.stop(Mode::Immediate).unwrap();
        cluster.restart();
        cluster
    });
    let _cluster = restarted.await.unwrap();
    let mut sum = Count::default();
    for count in join_all(cells.into_iter().map(|cell| cell.crashed(since))).await {
        sum.add(count);
    }
    say(&sum.line("server crashed"));
}

#[tokio::test]
async fn jobs_of_each_key_are_done_once_and_in_order_while_workers_are_killed() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run(
        "create table public.effect (id bigint, key text, n int);
         create table public.counter (key text primary key, n int not null default 0);
         insert into public.counter (key) select 'k' || n from generate_series(1, 50) n;
         select trunkline.job_open('q');
         select trunkline.job_push('q', 'x', key => 'k' || k) from generate_series(1, 20) n, generate_series(1, 50) k order by n, k",
    )
    .await;
    let (mut dice, mut kills, began) = (Dice(std::process::id().into()), 0, Stopwatch::start());
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(Process::start("job-counter", &db).await);
    }
    let done = async || raw.one("select count(*) from public.effect").await.parse::<u64>().unwrap();
    while done().await < 1000 {
        let next = (done().await + 60 + dice.throw(60)).min(1000);
        until("more to be done", async || done().await >= next).await;
        if next < 1000 {
            let victim = dice.throw(3) as usize;
            workers[victim].child.kill().await.unwrap();
            workers[victim] = Process::start("job-counter", &db).await;
            kills += 1;
        }
    }
    let ended = "select bool_and(state = 'done') from trunkline.job";
    raw.until("all to have ended", ended).await;
    let (took, again) = (began.elapsed(), raw.one("select sum(attempt - 1) from trunkline.job").await);
    let wrong = raw
        .one(
            "select count(*) from (select key, array_agg(id order by n) as ids, array_agg(n order by n) as ns from public.effect group by key) e
              where e.ns <> array(select generate_series(1, 20))
                 or e.ids <> array(select j.id from trunkline.job j where j.key = e.key order by j.id)",
        )
        .await;
    let sums =
        "select count(*) || ' ' || count(distinct id) || ' ' || count(distinct key) from public.effect";
    let sums = raw.one(sums).await;
    say(&format!(
        "jobs keys: 50 keys, 1000 jobs, {kills} kills, {again} attempts ended by them; effects, jobs and keys: {sums}; {wrong} keys out of order; {took:?}"
    ));
    assert_eq!((sums.as_str(), wrong.as_str()), ("1000 1000 50", "0"));
    assert!(kills >= 5);
}
