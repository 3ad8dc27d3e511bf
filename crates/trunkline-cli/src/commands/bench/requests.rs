//! The figures of requests: one caller against the floor, many against the SQL-only design, tails, and idle cost.

use std::time::{Duration, Instant};

use trunkline::{
    Error, ErrorKind, Result, Trunkline,
    requests::{Failure, Request, Serve},
};

use super::{
    Figure, bare,
    baseline::{floor, sql_design},
    connect,
    measure::{Run, count, cpu_seconds, load, median, session},
};

const IN_FLIGHT: [usize; 4] = [1, 16, 64, 256];

/// Rounds of every measurement, interleaved.
pub(super) async fn run(
    url: &str,
    rounds: u32,
    seconds: f64,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Figure>> {
    let responder = connect(url).await?;
    let caller = connect(url).await?;
    let serving =
        responder.requests().serve(Serve::channel("bench").concurrency(512), |request: Request| async move {
            Ok::<_, Failure>(request.payload)
        });
    serving.ready().await?;
    let mut ratios = Ratios::default();
    for round in 1..=rounds {
        ratios.round(url, &caller, seconds, &mut |what, run| say(&line(round, what, run))).await?;
    }
    serving.stop().await;
    for round in 1..=rounds {
        let late = expiry(&caller).await?;
        say(&format!(
            "round {round}  1000 calls that expire in one instant: the last is told {late:.0} ms after"
        ));
        ratios.late.push(late);
    }
    let idle = idle(url, &caller, say).await?;
    caller.close().await;
    responder.close().await;
    Ok(ratios.figures(idle))
}

/// What each round found, one value for each.
#[derive(Default)]
struct Ratios {
    over_floor: Vec<f64>,
    over_sql: Vec<f64>,
    bare_over_floor: Vec<f64>,
    bare_over_sql: Vec<f64>,
    tails: Vec<f64>,
    late: Vec<f64>,
}

impl Ratios {
    /// The floor, the SQL-only design, the limit and trunkline, one after the other.
    async fn round(
        &mut self,
        url: &str,
        caller: &Trunkline,
        seconds: f64,
        say: &mut dyn FnMut(&str, &Run),
    ) -> Result<()> {
        let floor = floor(url, seconds).await?;
        say("floor: NOTIFY and back", &floor);
        let mut best = 0.0_f64;
        for (callers, handlers) in [(1, 1), (16, 2), (64, 2), (64, 4)] {
            let run = sql_design(url, callers, handlers, seconds).await?;
            say(&format!("SQL only, {callers} in flight, {handlers} handlers"), &run);
            best = best.max(run.rate());
        }
        for n in [1, 64] {
            let run = bare::run(url, n, seconds).await?;
            say(&format!("the limit: bare tables, {n} in flight"), &run);
            match n {
                1 => self.bare_over_floor.push(run.percentile(50) / floor.percentile(50)),
                _ => self.bare_over_sql.push(run.rate() / best),
            }
        }
        for n in IN_FLIGHT {
            let run = calls(caller, n, seconds, None).await?;
            say(&format!("trunkline, {n} in flight"), &run);
            if n == 1 {
                self.over_floor.push(run.percentile(50) / floor.percentile(50));
            }
            if n == 64 {
                self.over_sql.push(run.rate() / best);
                // Half of what 64 callers reached, by the same 64 callers at a steady pace.
                let pace = Duration::from_secs_f64(64.0 * 2.0 / run.rate());
                let half = calls(caller, 64, seconds, Some(pace)).await?;
                say("trunkline, 64 callers at half load", &half);
                self.tails.push(half.percentile(99) / half.percentile(50));
            }
        }
        Ok(())
    }

    fn figures(self, idle: f64) -> Vec<Figure> {
        let ratio = |name, values, wanted| Figure { name, value: median(values), unit: "x", wanted };
        vec![
            ratio("call_p50_over_floor", self.over_floor, "<= 2"),
            ratio("rps64_over_sql_design", self.over_sql, ">= 15"),
            ratio("limit_p50_over_floor", self.bare_over_floor, "bare tables, for comparison"),
            ratio("limit_rps64_over_sql_design", self.bare_over_sql, "bare tables, for comparison"),
            ratio("p99_over_p50_half_load", self.tails, "< 10"),
            Figure { name: "expiry_ms", value: median(self.late), unit: "ms", wanted: "<= 100" },
            Figure { name: "idle_calls_cpu_percent", value: idle, unit: "%", wanted: "< 5" },
        ]
    }
}

fn line(round: u32, what: &str, run: &Run) -> String {
    format!(
        "round {round}  {what:<42} {:>8.0}/s  p50 {:>7.0} us  p99 {:>7.0} us",
        run.rate(),
        run.percentile(50),
        run.percentile(99)
    )
}

async fn calls(caller: &Trunkline, n: usize, seconds: f64, pace: Option<Duration>) -> Result<Run> {
    let requests = caller.requests();
    let payload = "p".repeat(60);
    load(n, seconds, pace, move |_| {
        let call = requests.call("bench", payload.as_str());
        async move { call.await.map(drop) }
    })
    .await
}

/// How long after their one deadline the last of a thousand calls learns that it has passed, in milliseconds.
async fn expiry(caller: &Trunkline) -> Result<f64> {
    let deadline = Instant::now() + Duration::from_millis(1500);
    let mut calls = Vec::with_capacity(1000);
    for _ in 0..1000 {
        let call = caller.requests().call("bench.expiry", "x").wait_for_responder();
        calls.push(call.timeout(deadline.saturating_duration_since(Instant::now())).start().await?);
    }
    let told = calls.into_iter().map(|c| async move {
        let _ = c.wait().await;
        deadline.elapsed().as_secs_f64() * 1000.0
    });
    let told = futures_util::future::join_all(told).await;
    Ok(told.into_iter().fold(0.0, f64::max))
}

/// The CPU that ten thousand waiting calls use, of client and server together, in per cent of one core.
async fn idle(url: &str, caller: &Trunkline, say: &mut dyn FnMut(&str)) -> Result<f64> {
    const WAITING: usize = 10_000;
    const WATCHED: Duration = Duration::from_secs(5);
    let postmaster = postmaster(url).await?;
    let mut waiting = Vec::with_capacity(WAITING);
    for _ in 0..WAITING {
        let call =
            caller.requests().call("bench.idle", "x").wait_for_responder().timeout(Duration::from_secs(120));
        waiting.push(call.start().await?);
    }
    settled(caller).await;
    let Some(before) = cpu_seconds(postmaster) else { return Ok(f64::NAN) };
    tokio::time::sleep(WATCHED).await;
    let after = cpu_seconds(postmaster).unwrap_or(before);
    let percent = (after - before) / WATCHED.as_secs_f64() * 100.0;
    say(&format!("{} idle calls use {percent:.1} % of one core", count(WAITING)));
    drop(waiting);
    settled(caller).await;
    Ok(percent)
}

/// Until the numbers of what is in flight stand still.
async fn settled(caller: &Trunkline) {
    let mut last = (u64::MAX, usize::MAX);
    loop {
        let now = (caller.requests().stats().sent, caller.requests().awaiting().len());
        if now == last {
            return;
        }
        last = now;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// The server's first process, when it runs on this machine.
async fn postmaster(url: &str) -> Result<i32> {
    let (client, _rx) = session(url).await?;
    let pid: i32 = client.query_one("select pg_backend_pid()", &[]).await?.get(0);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").and_then(|(_, f)| f.split(' ').nth(1)?.parse().ok()).ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "idle cost is measured on the server's own machine only")
    })
}
