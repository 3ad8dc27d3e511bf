//! The figures of jobs: pushes against a bare INSERT, bulk against COPY, burning down a backlog against a SKIP LOCKED table,
//! push to start, what a job costs in WAL and dead rows, and what a sleeping worker costs.

mod cost;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::stream;
use tokio::sync::mpsc;
use tokio_postgres::Client;
use trunkline::{
    Error, ErrorKind, Result, Trunkline,
    jobs::{Job, NewJob, Work},
};

use self::cost::Cost;
use super::{
    Figure, connect,
    measure::{load, median, session},
    streams::{asleep, copy_in, single},
};

const CLIENTS: [usize; 3] = [1, 16, 32];
const WORKERS: [usize; 5] = [1, 4, 64, 256, 2000];
const SETUP: &str = "
    drop schema if exists trunkline_bench cascade;
    create schema trunkline_bench;
    create table trunkline_bench.bare (id bigint generated always as identity primary key, payload text not null);
    create table trunkline_bench.claimed (id bigint generated always as identity primary key, state smallint not null default 0,
        worker text, at timestamptz, payload text not null) with (autovacuum_enabled = off);
    create index on trunkline_bench.claimed (id) where state = 0;
    create table trunkline_bench.keyed (id bigint generated always as identity primary key, state smallint not null default 0,
        key text not null, unique_key text not null, payload text not null);
    create unique index on trunkline_bench.keyed (unique_key) where state < 2;
    create index on trunkline_bench.keyed (id) where state = 0;
    select trunkline.job_open('bench');";
const TEARDOWN: &str = "drop schema if exists trunkline_bench cascade";
const INSERT: &str = "insert into trunkline_bench.bare (payload) values ($1)";
const PUSH: &str = "select trunkline.job_push('bench', $1)";
const FILL: &str =
    "insert into trunkline_bench.claimed (payload) select repeat('p', 60) from generate_series(1, $1::int)";
const CLAIM: &str = "update trunkline_bench.claimed c set state = 1, worker = 'w', at = now() from (
        select id from trunkline_bench.claimed where state = 0 order by id for update skip locked limit 500) n
    where c.id = n.id returning c.id, c.payload";
const FINISH: &str = "delete from trunkline_bench.claimed where id = any ($1)";
const COMMITS: &str = "select xact_commit::float8 from pg_stat_database where datname = current_database()";
const PAYLOAD: usize = 60;

/// Rounds of every measurement, interleaved; then a backlog of so many, two minutes at rest, and a snapshot held for so many seconds,
/// once each.
pub(super) async fn run(
    url: &str,
    rounds: u32,
    (seconds, held): (f64, f64),
    bulk: u32,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Figure>> {
    let (admin, _rx) = session(url).await?;
    let mut found = Found::default();
    for round in 1..=rounds {
        found.round(url, &admin, seconds, bulk, &mut |line| say(&format!("round {round}  {line}"))).await?;
    }
    admin.batch_execute(SETUP).await?;
    let tl = connect(url).await?;
    found.backlog.push(cost::backlog(&tl, &admin, bulk / 2 * 5, bulk, say).await?);
    drain(&tl).await?;
    found.idle.push(idle(&tl, url, &admin, seconds, say).await?);
    tl.close().await;
    let (speed, p99) = cost::held(url, held, say).await?;
    found.held[0].push(speed);
    found.held[1].push(p99);
    admin.batch_execute(TEARDOWN).await?;
    Ok(found.figures())
}

/// What each round found, one value for each.
#[derive(Default)]
struct Found {
    over_insert: [Vec<f64>; 3],
    at_rest: [Vec<f64>; 3],
    tasks: [Vec<f64>; 3],
    bulk: Vec<f64>,
    burndown: Vec<f64>,
    rate: Vec<f64>,
    workers: Vec<f64>,
    latency: [Vec<f64>; 2],
    wal: Vec<f64>,
    commits: Vec<f64>,
    dead: Vec<f64>,
    idle: Vec<f64>,
    keys: Cost,
    limits: Cost,
    backlog: Vec<f64>,
    held: [Vec<f64>; 2],
    /// Of bare tables: what a commit, a NOTIFY and a look cost.
    floor: Vec<f64>,
}

impl Found {
    async fn round(
        &mut self,
        url: &str,
        admin: &Client,
        seconds: f64,
        bulk: u32,
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        admin.batch_execute(SETUP).await?;
        let tl = connect(url).await?;
        drain(&tl).await?;
        self.pushes(url, &tl, seconds, say).await?;
        drain(&tl).await?;
        self.burn(&tl, url, admin, bulk, say).await?;
        cost::features(&tl, admin, bulk / 10, (&mut self.keys, &mut self.limits), say).await?;
        self.latency(&tl, url, seconds, say).await?;
        tl.close().await;
        Ok(())
    }

    /// Single pushes by SQL, with workers that sleep at the start and are woken by the run; then with nobody working, by SQL and by
    /// tasks of one process, which share its connection.
    async fn pushes(
        &mut self,
        url: &str,
        tl: &Trunkline,
        seconds: f64,
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let working = tl.jobs().work(Work::queue("bench").concurrency(256), async |_: Job| Ok(()));
        for (n, ratios) in CLIENTS.into_iter().zip(&mut self.over_insert) {
            let bare = single(url, INSERT, n, seconds).await?.rate();
            let ours = single(url, PUSH, n, seconds).await?.rate();
            say(&format!("{n:>3} clients: bare INSERT {bare:>7.0}/s, job_push {ours:>7.0}/s"));
            ratios.push(ours / bare);
        }
        working.stop().await?;
        drain(tl).await?;
        for ((n, sessions), tasks) in CLIENTS.into_iter().zip(&mut self.at_rest).zip(&mut self.tasks) {
            let bare = single(url, INSERT, n, seconds).await?.rate();
            let ours = single(url, PUSH, n, seconds).await?.rate();
            let own = connect(url).await?;
            let (jobs, payload) = (own.jobs(), "p".repeat(PAYLOAD));
            let push = move |_| {
                let (jobs, payload) = (jobs.clone(), payload.clone());
                async move { jobs.push("bench", payload).await.map(drop) }
            };
            let shared = load(n, seconds, None, push).await?.rate();
            own.close().await;
            say(&format!(
                "{n:>3} clients, nobody works: bare INSERT {bare:>7.0}/s, job_push {ours:>7.0}/s, by tasks of one process {shared:>7.0}/s"
            ));
            sessions.push(ours / bare);
            tasks.push(shared / bare);
        }
        Ok(())
    }

    /// A backlog, pushed in bulk and burnt down, by so many handlers at once that do nothing.
    async fn burn(
        &mut self,
        tl: &Trunkline,
        url: &str,
        admin: &Client,
        bulk: u32,
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let payload = "p".repeat(PAYLOAD);
        let at = Instant::now();
        copy_in(admin, &payload, bulk).await?;
        let copied = f64::from(bulk) / at.elapsed().as_secs_f64();
        let at = Instant::now();
        fill(tl, bulk).await?;
        let loaded = f64::from(bulk) / at.elapsed().as_secs_f64();
        say(&format!("{bulk} jobs: COPY in {copied:.0}/s, load {loaded:.0}/s"));
        self.bulk.push(loaded / copied);
        let baseline = skip_locked(url, admin, bulk).await?;
        say(&format!("SKIP LOCKED, two sessions that claim 500: {baseline:.0}/s"));
        drain(tl).await?;
        let mut rates = Vec::new();
        for workers in WORKERS {
            let jobs = if workers < 64 { bulk / 10 } else { bulk };
            fill(tl, jobs).await?;
            let rate = burn_down(tl, workers, jobs).await?;
            say(&format!("{workers:>5} handlers at once: {rate:.0}/s"));
            rates.push(rate);
        }
        let best = rates.iter().copied().fold(0.0, f64::max);
        self.burndown.push(best / baseline);
        self.rate.push(best);
        self.workers
            .push(rates.get(3).copied().unwrap_or(f64::NAN) / rates.get(1).copied().unwrap_or(f64::NAN));
        let (before, committed) = (wal(admin).await?, commits(admin).await?);
        fill(tl, bulk).await?;
        burn_down(tl, 256, bulk).await?;
        let per_job = (wal(admin).await? - before) / f64::from(bulk);
        let shared = (commits(admin).await? - committed) / f64::from(bulk);
        say(&format!("{per_job:.0} bytes of WAL and {shared:.4} commits a job, pushed, taken and done"));
        self.wal.push(per_job);
        self.commits.push(shared);
        self.dead.push(dead(admin).await? / f64::from(bulk));
        Ok(())
    }

    /// From the push to the handler's start, at a thousand a second, with nobody polling.
    async fn latency(
        &mut self,
        tl: &Trunkline,
        url: &str,
        seconds: f64,
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let floor = floor(url, seconds).await?;
        say(&format!("a row inserted into a bare table, notified and looked up, 200/s: p50 {floor:.2} ms"));
        self.floor.push(floor);
        for (pace, keep) in [(5_000, false), (1_000, true)] {
            let producer = connect(url).await?;
            let begun = Instant::now();
            let (tx, mut rx) = mpsc::unbounded_channel();
            let working = tl.jobs().work("bench", move |job: Job| {
                let sent: f64 = job.payload.text().ok().and_then(|t| t.parse().ok()).unwrap_or(f64::NAN);
                let _ = tx.send(begun.elapsed().as_secs_f64() - sent);
                async { Ok(()) }
            });
            asleep(url).await?;
            let mut tick = tokio::time::interval(Duration::from_micros(pace));
            let mut sending = tokio::task::JoinSet::new();
            let end = Instant::now() + Duration::from_secs_f64(seconds);
            while Instant::now() < end {
                tick.tick().await;
                let jobs = producer.jobs();
                let text = begun.elapsed().as_secs_f64().to_string();
                sending.spawn(async move { jobs.push("bench", text).await });
            }
            let mut times = Vec::new();
            while let Some(done) = sending.join_next().await {
                done.map_err(|e| Error::new(ErrorKind::Other, e.to_string()))??;
                times.push(rx.recv().await.unwrap_or(f64::NAN) * 1000.0);
            }
            working.stop().await?;
            producer.close().await;
            times.sort_by(f64::total_cmp);
            let at =
                |p: usize| times.get(times.len().saturating_sub(1) * p / 100).copied().unwrap_or(f64::NAN);
            say(&format!(
                "push to start at {}/s, {} jobs: p50 {:.2} ms, p99 {:.2} ms",
                1_000_000 / pace,
                times.len(),
                at(50),
                at(99)
            ));
            if keep {
                self.latency[0].push(at(50));
                self.latency[1].push(at(99));
            }
        }
        Ok(())
    }

    fn figures(self) -> Vec<Figure> {
        let figure = |name, values, unit, wanted| Figure { name, value: median(values), unit, wanted };
        let [one, sixteen, thirty_two] = self.over_insert;
        let [rest1, rest16, rest32] = self.at_rest;
        let [tasks1, tasks16, tasks32] = self.tasks;
        let [p50, p99] = self.latency;
        let [held_speed, held_p99] = self.held;
        vec![
            figure("push1_over_insert", one, "x", ">= 0.85"),
            figure("push16_over_insert", sixteen, "x", ">= 0.85"),
            figure("push32_over_insert", thirty_two, "x", ">= 0.85"),
            figure("push1_at_rest_over_insert", rest1, "x", ""),
            figure("push16_at_rest_over_insert", rest16, "x", ""),
            figure("push32_at_rest_over_insert", rest32, "x", ""),
            figure("push1_of_tasks_over_insert", tasks1, "x", ""),
            figure("push16_of_tasks_over_insert", tasks16, "x", ">= 0.85"),
            figure("push32_of_tasks_over_insert", tasks32, "x", ">= 0.85"),
            figure("bulk_push_over_copy", self.bulk, "x", ">= 0.8"),
            figure("burndown_over_skip_locked", self.burndown, "x", ">= 3"),
            figure("burndown_jobs_per_s", self.rate, "/s", ""),
            figure("workers256_over_4", self.workers, "x", ">= 1"),
            figure("start_p50_ms", p50, "ms", "<= 1"),
            figure("start_p99_ms", p99, "ms", "<= 5"),
            figure("start_floor_p50_ms", self.floor, "ms", ""),
            figure("wal_bytes_per_job", self.wal, "bytes", "<= 300"),
            figure("commits_per_job", self.commits, "", ""),
            figure("dead_rows_per_job", self.dead, "rows", "0"),
            figure("held_xmin_speed", held_speed, "x", ">= 1"),
            figure("held_xmin_p99_over_control", held_p99, "x", "<= 1.2"),
            figure("limits_cost_percent", self.limits.own, "%", "< 30"),
            figure("limits_cost_to_others_percent", self.limits.others, "%", "< 10"),
            figure("keys_cost_percent", self.keys.own, "%", "< 30"),
            figure("keys_floor_cost_percent", self.keys.floor, "%", ""),
            figure("keys_cost_to_others_percent", self.keys.others, "%", "< 10"),
            figure("backlog_cost_percent", self.backlog, "%", "< 10"),
            figure("idle_queries_per_minute", self.idle, "", "<= 10"),
        ]
    }
}

/// Pushes jobs in bulk.
async fn fill(tl: &Trunkline, jobs: u32) -> Result<()> {
    fill_queue(tl, "bench", jobs).await
}

async fn fill_queue(tl: &Trunkline, queue: &str, jobs: u32) -> Result<()> {
    let payload = "p".repeat(PAYLOAD);
    tl.jobs().load(queue, stream::iter((0..jobs).map(|_| NewJob::new(payload.as_str())))).await.map(drop)
}

/// Does so many jobs, so many at once: how many a second.
async fn burn_down(tl: &Trunkline, workers: usize, jobs: u32) -> Result<f64> {
    let left = Arc::new(AtomicU32::new(jobs));
    let (done_tx, mut done) = mpsc::channel(1);
    let at = Instant::now();
    let working = tl.jobs().work(Work::queue("bench").concurrency(workers), move |_: Job| {
        if left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let _ = done_tx.try_send(());
        }
        async { Ok(()) }
    });
    done.recv().await;
    working.stop().await?;
    Ok(f64::from(jobs) / at.elapsed().as_secs_f64())
}

/// The same with bare tables, the middle one in ms: insert and notify in one commit, and whoever listens looks the row up.
async fn floor(url: &str, seconds: f64) -> Result<f64> {
    const SEND: &str = "with i as (insert into trunkline_bench.bare (payload) values ($1) returning id)
        select pg_notify('trunkline_bench', '') from i";
    const LOOK: &str = "select payload from trunkline_bench.bare where id > $1 order by id desc limit 1";
    let ((sender, _), (looker, mut bell)) = (session(url).await?, session(url).await?);
    looker.batch_execute("listen trunkline_bench").await?;
    let (send, look) = (sender.prepare(SEND).await?, looker.prepare(LOOK).await?);
    let payload = "p".repeat(PAYLOAD);
    let mut times = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < end {
        tick.tick().await;
        let at = Instant::now();
        let looked = async {
            bell.recv().await;
            looker.query(&look, &[&0_i64]).await
        };
        let args: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&payload];
        let (sent, looked) = tokio::join!(sender.query(&send, &args), looked);
        sent?;
        looked?;
        times.push(at.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(times))
}

/// Until nothing waits.
async fn drain(tl: &Trunkline) -> Result<()> {
    let work = Work::queue("bench").concurrency(1000).drain();
    tl.jobs().work(work, async |_: Job| Ok(())).ended().await?;
    tl.maintain().await
}

/// A well-made table with SKIP LOCKED: claim 500 by UPDATE, finish by DELETE, by two sessions.
async fn skip_locked(url: &str, admin: &Client, jobs: u32) -> Result<f64> {
    let jobs = i32::try_from(jobs / 4).unwrap_or(i32::MAX);
    admin.execute(FILL, &[&jobs]).await?;
    admin.batch_execute("vacuum analyze trunkline_bench.claimed").await?;
    let at = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (client, _rx) = session(url).await?;
        tasks.spawn(async move {
            let (claim, finish) = (client.prepare(CLAIM).await?, client.prepare(FINISH).await?);
            loop {
                let rows = client.query(&claim, &[]).await?;
                if rows.is_empty() {
                    return Ok::<_, Error>(());
                }
                let ids = rows.iter().map(|r| r.try_get(0)).collect::<std::result::Result<Vec<i64>, _>>()?;
                client.execute(&finish, &[&ids]).await?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(|e| Error::new(ErrorKind::Other, e.to_string()))??;
    }
    Ok(f64::from(jobs) / at.elapsed().as_secs_f64())
}

/// Bytes of WAL written so far.
async fn wal(admin: &Client) -> Result<f64> {
    const WAL: &str = "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8";
    Ok(admin.query_one(WAL, &[]).await?.try_get(0)?)
}

/// Transactions that were committed so far; a session tells what it did a second late at most, or when it is at rest.
async fn commits(admin: &Client) -> Result<f64> {
    tokio::time::sleep(Duration::from_millis(1500)).await;
    Ok(admin.query_one(COMMITS, &[]).await?.try_get(0)?)
}

/// Dead rows in the tables of jobs, by the server's statistics.
async fn dead(admin: &Client) -> Result<f64> {
    const DEAD: &str = "select coalesce(sum(n_dead_tup), 0)::float8 from pg_stat_user_tables where schemaname = 'trunkline' and relname like 'job\\_%'";
    Ok(admin.query_one(DEAD, &[]).await?.try_get(0)?)
}

/// Transactions a minute of a process whose worker has nothing to do.
async fn idle(
    tl: &Trunkline,
    url: &str,
    admin: &Client,
    seconds: f64,
    say: &mut dyn FnMut(&str),
) -> Result<f64> {
    let mut working = tl.jobs().work("bench", async |_: Job| Ok(()));
    asleep(url).await?;
    // In the first minute a process looks for what a crash may have left.
    let window = Duration::from_secs(if seconds < 3.0 { 6 } else { 60 });
    let mut before = f64::NAN;
    // Twice: the first to come to rest. It does not end by itself; if it did, we would hear of it.
    for _ in 0..2 {
        before = admin.query_one(COMMITS, &[]).await?.try_get(0)?;
        if let Ok(ended) = tokio::time::timeout(window, working.ended()).await {
            ended?;
        }
    }
    let after: f64 = admin.query_one(COMMITS, &[]).await?.try_get(0)?;
    working.stop().await?;
    let a_minute = (after - before) / window.as_secs_f64() * 60.0;
    say(&format!("idle: {a_minute:.0} transactions a minute"));
    Ok(a_minute)
}
