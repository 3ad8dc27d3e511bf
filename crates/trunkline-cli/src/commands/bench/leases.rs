//! The figures of leases: how long nobody holds one after its holder resigned, was killed, or stood still.
//!
//! The holder is a process of its own, `leases run`, the next one a handle of this process; what is measured is the time from the
//! signal, or from the release, until the next one has it.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{Child, Command};
use trunkline::{Error, ErrorKind, Result, Trunkline, leases::Lease};

use super::{Figure, connect};

const NAME: &str = "bench.lease";
/// Without a sign of life a process is gone after so long; that is what a frozen one's lease amounts to.
const LEASE: Duration = Duration::from_secs(5);

pub(super) async fn run(url: &str, rounds: u32, say: &mut dyn FnMut(&str)) -> Result<Vec<Figure>> {
    let (one, two) = (connect(url).await?, connect(url).await?);
    let (mut resigned, mut killed, mut stopped) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        for n in 0..100 {
            let (from, to) = if n % 2 == 0 { (&one, &two) } else { (&two, &one) };
            resigned.push(resign(from, to).await?);
        }
        for _ in 0..20 {
            killed.push(signalled(url, &one, Signal::SIGKILL).await?);
        }
        for _ in 0..2 {
            stopped.push(signalled(url, &one, Signal::SIGSTOP).await?.saturating_sub(LEASE));
        }
        say(&format!("{} resigned, {} killed, {} stopped", resigned.len(), killed.len(), stopped.len()));
    }
    one.close().await;
    two.close().await;
    Ok(vec![
        figure("takeover_resign_p99_ms", resigned, "<= 100"),
        figure("takeover_kill_p99_ms", killed, "<= 1000"),
        figure("takeover_stop_p99_ms_over_lease", stopped, "<= 1000"),
    ])
}

fn figure(name: &'static str, mut took: Vec<Duration>, wanted: &'static str) -> Figure {
    took.sort_unstable();
    let value = took.get((took.len() * 99).div_ceil(100).saturating_sub(1));
    Figure { name, value: value.map_or(f64::NAN, |t| t.as_secs_f64() * 1e3), unit: "ms", wanted }
}

/// One resigns while another waits.
async fn resign(from: &Trunkline, to: &Trunkline) -> Result<Duration> {
    let lease = from.leases().acquire(NAME).await?;
    let next = waiting(to).await?;
    let began = Instant::now();
    lease.resign().await?;
    let (lease, at) = joined(next).await?;
    lease.resign().await?;
    Ok(at - began)
}

/// A process that holds it gets this signal while we wait.
async fn signalled(url: &str, me: &Trunkline, signal: Signal) -> Result<Duration> {
    let mut holder = holder(url)?;
    until(me, |l| l.held_by.as_deref() == Some("bench")).await?;
    let next = waiting(me).await?;
    let began = Instant::now();
    let id = holder.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
    kill(Pid::from_raw(id), signal).map_err(|e| failed("cannot signal a process", e))?;
    let (lease, at) = joined(next).await?;
    holder.kill().await.map_err(|e| failed("cannot end a process", e))?;
    lease.resign().await?;
    Ok(at - began)
}

fn holder(url: &str) -> Result<Child> {
    let start = || {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["-q", "leases", "run", NAME, "--held-by", "bench", "--", "sleep", "600"]);
        command.env("TRUNKLINE_DATABASE_URL", url).stdin(Stdio::null()).stderr(Stdio::null());
        command.kill_on_drop(true).spawn()
    };
    start().map_err(|e| failed("cannot start a process", e))
}

type Next = tokio::task::JoinHandle<Result<(Lease, Instant)>>;

/// Begins to wait, and is first in the queue when this returns.
async fn waiting(me: &Trunkline) -> Result<Next> {
    let leases = me.leases();
    let next = tokio::spawn(async move { Ok((leases.acquire(NAME).await?, Instant::now())) });
    until(me, |l| l.waiting > 0).await?;
    Ok(next)
}

async fn until(me: &Trunkline, so: impl Fn(&trunkline::leases::Listed) -> bool) -> Result<()> {
    while !me.leases().show(NAME).await?.as_ref().is_some_and(&so) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

async fn joined(next: Next) -> Result<(Lease, Instant)> {
    next.await.map_err(|e| failed("a task failed", e))?
}

fn failed(what: &'static str, e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Other, what).with_source(e)
}
