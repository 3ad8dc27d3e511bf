//! What the measurements share: load loops, percentiles, medians, CPU time of the server.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tokio_postgres::AsyncMessage;
use trunkline::{
    Result,
    connect::Purpose,
    conninfo::{ConnInfo, Env},
};

use super::Machine;

/// Latencies of one measurement and how long it ran.
#[derive(Debug, Default)]
pub(super) struct Run {
    latencies: Vec<u64>,
    elapsed: Duration,
}

impl Run {
    /// How many were finished.
    pub(super) fn len(&self) -> usize {
        self.latencies.len()
    }

    /// Finished per second.
    pub(super) fn rate(&self) -> f64 {
        count(self.latencies.len()) / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// A percentile, in microseconds.
    pub(super) fn percentile(&self, p: usize) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies
            .get(last * p / 100)
            .map_or(f64::NAN, |ns| Duration::from_nanos(*ns).as_secs_f64() * 1e6)
    }
}

pub(super) fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::MAX, f64::from)
}

/// Runs `callers` loops at once for some seconds; `pace`, when given, is each loop's time from start to start.
pub(super) async fn load<F, W>(callers: usize, seconds: f64, pace: Option<Duration>, work: W) -> Result<Run>
where
    W: Fn(usize) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<()>> + Send,
{
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(seconds);
    let mut loops = JoinSet::new();
    for caller in 0..callers {
        let work = work.clone();
        loops.spawn(async move {
            let mut latencies = Vec::new();
            let mut next = Instant::now();
            while Instant::now() < end {
                if let Some(pace) = pace {
                    tokio::time::sleep_until(next.into()).await;
                    next += pace;
                }
                let at = Instant::now();
                work(caller).await?;
                latencies.push(u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX));
            }
            Ok::<_, trunkline::Error>(latencies)
        });
    }
    let mut run = Run::default();
    while let Some(done) = loops.join_next().await {
        run.latencies.extend(done.map_err(|e| failed(&e))??);
    }
    run.elapsed = begin.elapsed();
    run.latencies.sort_unstable();
    Ok(run)
}

fn failed(e: &tokio::task::JoinError) -> trunkline::Error {
    trunkline::Error::new(trunkline::ErrorKind::Other, format!("a measuring task failed: {e}"))
}

/// The median of some values.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A plain session, with its notifications.
pub(super) async fn session(
    url: &str,
) -> Result<(tokio_postgres::Client, tokio::sync::mpsc::UnboundedReceiver<String>)> {
    let mut session = ConnInfo::from_str_with(url, &Env::process())?.connect(Purpose::Work).await?;
    let (tx, rx) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = session.driver.message().await {
            if let AsyncMessage::Notification(n) = message {
                let _ = tx.send(n.channel().to_owned());
            }
        }
    });
    Ok((session.client, rx))
}

/// A session that holds a snapshot, for as long as it wants to: ours give up an idle transaction.
pub(super) async fn holder(url: &str) -> Result<tokio_postgres::Client> {
    let (client, _rx) = session(url).await?;
    client
        .batch_execute(
            "set idle_in_transaction_session_timeout = 0; begin isolation level repeatable read;
             select count(*) from trunkline_bench.bare",
        )
        .await?;
    Ok(client)
}

/// Where we are.
pub(super) async fn machine(url: &str) -> Result<Machine> {
    const SQL: &str = "select current_setting('server_version'), 'fsync ' || current_setting('fsync') || ', synchronous_commit ' || current_setting('synchronous_commit')";
    let (client, _rx) = session(url).await?;
    let row = client.query_one(SQL, &[]).await?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Machine { cores, postgresql: row.get(0), durability: row.get(1) })
}

/// CPU seconds used so far by this process and by the server's processes of this machine; none where /proc is not.
pub(super) fn cpu_seconds(postmaster: i32) -> Option<f64> {
    let mut ticks = 0_u64;
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let pid: Option<u32> = entry.file_name().to_str().and_then(|n| n.parse().ok());
        let Some(fields) = stat.rsplit_once(") ").map(|(_, f)| f.split(' ').collect::<Vec<_>>()) else {
            continue;
        };
        let number = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        let parent = fields.get(1).and_then(|f| f.parse::<i32>().ok());
        if pid == Some(std::process::id()) || parent == Some(postmaster) {
            ticks += number(11) + number(12);
        }
    }
    u32::try_from(ticks).ok().map(|t| f64::from(t) / 100.0)
}
