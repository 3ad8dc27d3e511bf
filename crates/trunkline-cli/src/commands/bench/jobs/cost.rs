//! What jobs cost each other: those that use keys, limits and unique keys, a million that wait, and a snapshot that is held.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tokio_postgres::Client;
use trunkline::{
    Error, ErrorKind, Result, Trunkline,
    jobs::{Job, NewJob, Work},
};

use super::{
    super::{connect, measure::holder},
    burn_down, fill,
};

/// Handlers at once, wherever jobs of two kinds are compared.
const WORKERS: usize = 64;
const KEYS: u32 = 1000;
/// A second, while a snapshot is held and while none is.
const PACE: u32 = 2000;

type Say<'a> = &'a mut dyn FnMut(&str);

/// By how many per cent the second rate is below the first.
fn cost(free: f64, burdened: f64) -> f64 {
    (1.0 - burdened / free) * 100.0
}

/// What using a feature costs: those that use it, and those that do not, while as many others are done beside them that do, or do not.
#[derive(Debug, Default)]
pub(super) struct Cost {
    pub(super) own: Vec<f64>,
    pub(super) others: Vec<f64>,
    /// The same of rows in an ordinary table, without any promise.
    pub(super) floor: Vec<f64>,
}

impl Cost {
    fn note(&mut self, what: &str, [free, own, plain, others]: [f64; 4], say: Say<'_>) {
        say(&format!(
            "{what}: {free:.0}/s without, {own:.0}/s with; others {others:.0}/s beside them, {plain:.0}/s beside plain ones"
        ));
        self.own.push(cost(free, own));
        self.others.push(cost(plain, others));
    }
}

/// Keys and unique keys, then limits: jobs pushed and done, so many a second.
pub(super) async fn features(
    tl: &Trunkline,
    admin: &Client,
    jobs: u32,
    (keys, limits): (&mut Cost, &mut Cost),
    say: Say<'_>,
) -> Result<()> {
    admin
        .batch_execute(
            "select trunkline.job_open('bench_plain'), trunkline.job_open('bench_keys'), trunkline.job_open('bench_limits');
             select trunkline.job_set('bench_limits', 'max_running', '64'), trunkline.job_set('bench_limits', 'rate_limit', '1000000')",
        )
        .await?;
    let plain = |_: u32| NewJob::new("p");
    let keyed = |n: u32| NewJob::new("p").key((n % KEYS).to_string()).unique(n.to_string());
    let free = flow(tl, "bench", jobs, plain).await?;
    let with = flow(tl, "bench_keys", jobs, keyed).await?;
    let beside_plain = beside(tl, "bench_plain", jobs, plain).await?;
    let others = beside(tl, "bench_keys", jobs, keyed).await?;
    keys.note("keys and unique keys", [free, with, beside_plain, others], say);
    let bare = bare(admin, jobs).await?;
    say(&format!("rows with both in a bare table: {bare:.0}/s"));
    keys.floor.push(cost(free, bare));
    let free = flow(tl, "bench", jobs, plain).await?;
    let with = flow(tl, "bench_limits", jobs, plain).await?;
    let others = beside(tl, "bench_limits", jobs, plain).await?;
    let beside_plain = beside(tl, "bench_plain", jobs, plain).await?;
    limits.note("limits", [free, with, beside_plain, others], say);
    Ok(())
}

/// Pushes jobs and does them: how many a second, from the first push to the last end.
async fn flow(tl: &Trunkline, queue: &str, jobs: u32, make: impl Fn(u32) -> NewJob) -> Result<f64> {
    let at = Instant::now();
    tl.jobs().push_all(queue, (0..jobs).map(make)).await?;
    let mut working = tl
        .jobs()
        .work(Work::queue(queue).concurrency(WORKERS).at_most(u64::from(jobs)), async |_: Job| Ok(()));
    working.ended().await?;
    Ok(f64::from(jobs) / at.elapsed().as_secs_f64())
}

/// The least that keys cost in an ordinary table: rows that are inserted, claimed and ended, as many at once as there are handlers, under
/// three indexes. Nobody waits his turn, and nothing is kept of an attempt.
async fn bare(admin: &Client, jobs: u32) -> Result<f64> {
    const PUSH: &str = "insert into trunkline_bench.keyed (key, unique_key, payload) select (n % $2::int)::text, n::text, 'p' from generate_series(1, $1::int) n";
    const CLAIM: &str = "update trunkline_bench.keyed k set state = 1 from (
            select id from trunkline_bench.keyed where state = 0 order by id for update skip locked limit $1::int) n
        where k.id = n.id returning k.id, k.payload";
    const END: &str = "update trunkline_bench.keyed set state = 2 where id = any ($1)";
    let [rows, keys, at_once] =
        [jobs, KEYS, u32::try_from(WORKERS).unwrap_or(KEYS)].map(|n| i32::try_from(n).unwrap_or(i32::MAX));
    let (claim, end) = (admin.prepare(CLAIM).await?, admin.prepare(END).await?);
    let at = Instant::now();
    admin.execute(PUSH, &[&rows, &keys]).await?;
    loop {
        let claimed = admin.query(&claim, &[&at_once]).await?;
        if claimed.is_empty() {
            return Ok(f64::from(jobs) / at.elapsed().as_secs_f64());
        }
        let ids = claimed.iter().map(|r| r.try_get(0)).collect::<std::result::Result<Vec<i64>, _>>()?;
        admin.execute(&end, &[&ids]).await?;
    }
}

/// The same of four times as many plain jobs, while 10,000 of another queue wait and 200 a second of them are done.
async fn beside(tl: &Trunkline, queue: &str, jobs: u32, make: impl Fn(u32) -> NewJob) -> Result<f64> {
    tl.jobs().push_all(queue, (0..10_000).map(make)).await?;
    let working = tl.jobs().work(Work::queue(queue).concurrency(1), async |_: Job| {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(())
    });
    let rate = flow(tl, "bench", jobs * 4, |_| NewJob::new("p")).await;
    working.stop().await?;
    tl.jobs().work(Work::queue(queue).concurrency(1000).drain(), async |_: Job| Ok(())).ended().await?;
    rate
}

/// By how many per cent a backlog slows the others: as many jobs that wait in the ring, and as many that are scheduled.
pub(super) async fn backlog(
    tl: &Trunkline,
    admin: &Client,
    rows: u32,
    jobs: u32,
    say: Say<'_>,
) -> Result<f64> {
    const SCHEDULE: &str =
        "select cardinality(trunkline.job_push_many('bench', array_fill('p'::text, array[$1::int]),
        run_at => clock_timestamp() + interval '1 year'))";
    const FORGET: &str = "select trunkline.job_cancel_all('bench', state => 'scheduled'), trunkline.job_delete_all('bench', state => 'cancelled')";
    let rate = async || {
        fill(tl, jobs).await?;
        burn_down(tl, 256, jobs).await
    };
    rate().await?; // meanwhile the sessions of the measurements before are buried
    let free = rate().await?;
    admin
        .batch_execute(
            "select trunkline.job_open('bench_waiting'); select trunkline.job_pause('bench_waiting')",
        )
        .await?;
    super::fill_queue(tl, "bench_waiting", rows).await?;
    for _ in 0..rows / 50_000 {
        admin.execute(SCHEDULE, &[&50_000_i32]).await?;
    }
    let burdened = rate().await?;
    say(&format!("{free:.0}/s; {burdened:.0}/s beside {rows} jobs that wait and {rows} that are scheduled"));
    admin.batch_execute(FORGET).await?;
    tl.jobs().resume("bench_waiting").await?;
    tl.jobs()
        .work(Work::queue("bench_waiting").concurrency(2000).drain(), async |_: Job| Ok(()))
        .ended()
        .await?;
    Ok(cost(free, burdened))
}

/// Two thousand jobs a second, with a snapshot that is held all the time against without: the rate and the 99th percentile from
/// push to start in the last part, a tenth of it, as ratios.
pub(super) async fn held(url: &str, seconds: f64, say: Say<'_>) -> Result<(f64, f64)> {
    let (free, free_p99) = paced(url, seconds).await?;
    say(&format!("{PACE}/s for {seconds:.0} s: {free:.0}/s, p99 {free_p99:.2} ms"));
    let holder = holder(url).await?;
    let (burdened, p99) = paced(url, seconds).await?;
    holder.batch_execute("rollback").await?;
    say(&format!("the same while a snapshot is held: {burdened:.0}/s, p99 {p99:.2} ms"));
    Ok((burdened / free, p99 / free_p99))
}

/// The rate, and the 99th percentile in ms, of the last tenth of a run.
async fn paced(url: &str, seconds: f64) -> Result<(f64, f64)> {
    let (producer, worker) = (connect(url).await?, connect(url).await?);
    let begun = Instant::now();
    let (tx, mut rx) = mpsc::unbounded_channel();
    let working = worker.jobs().work("bench", move |job: Job| {
        let sent: f64 = job.payload.text().ok().and_then(|t| t.parse().ok()).unwrap_or(f64::NAN);
        let _ = tx.send((sent, begun.elapsed().as_secs_f64()));
        async { Ok(()) }
    });
    let slots = Arc::new(tokio::sync::Semaphore::new(4000));
    let mut tick = tokio::time::interval(Duration::from_micros(u64::from(1_000_000 / PACE)));
    while begun.elapsed().as_secs_f64() < seconds {
        tick.tick().await;
        let slot =
            slots.clone().acquire_owned().await.map_err(|e| Error::new(ErrorKind::Other, e.to_string()))?;
        let jobs = producer.jobs();
        tokio::spawn(async move {
            let _ = jobs.push("bench", begun.elapsed().as_secs_f64().to_string()).await;
            drop(slot);
        });
    }
    let _ = slots.acquire_many(4000).await;
    producer.close().await;
    working.stop().await?;
    worker.close().await;
    let from = seconds * 0.9;
    let mut times = Vec::new();
    while let Ok((sent, started)) = rx.try_recv() {
        if started >= from && started < seconds {
            times.push((started - sent) * 1000.0);
        }
    }
    times.sort_by(f64::total_cmp);
    let p99 = times.get(times.len().saturating_sub(1) * 99 / 100).copied().unwrap_or(f64::NAN);
    Ok((super::super::measure::count(times.len()) / (seconds - from), p99))
}
