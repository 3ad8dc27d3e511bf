//! `trunkline leases run`: a program that runs while a lease is held.
//!
//! ```text
//!   waiting in turn ── held ──▶ a guard of ours starts the program ──▶ running ── it ends ──▶ resign, its exit code
//!        ▲                                                               │
//!        │                                 SIGTERM, then SIGKILL ◀───────┤ asked to resign: SIGTERM, time to stop, SIGKILL, resign
//!        └──── without --once ◀──────────────────────┘            lost ──┘
//! ```
//! What if it dies here: the guard (`guard.rs`) is a process of its own, told every quarter of a second for how long the lease is
//! good; it kills the program when it is told no more in time, because we are frozen, and at once when we are gone.

use std::{os::fd::OwnedFd, process::Stdio, time::Duration};

use clap::Args;
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tracing::{info, warn};
use trunkline::{
    Trunkline,
    leases::{Lease, Loss},
};

use crate::{
    args::Global,
    exec::Group,
    exit::{self, CONFLICT, Failure, Result},
    input, signals, source,
};

/// What is lost without a warning is lost in a quarter of a second.
const AT_ONCE: Duration = Duration::from_millis(200);
/// How often the guard is told.
const TELL: Duration = Duration::from_millis(250);

/// Options of `leases run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The lease
    name: String,

    /// For how long the lease is good without being renewed, 1s to 1d
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = input::duration)]
    ttl: Duration,

    /// Wait for the lease for so long at most; 0s takes it at once or not at all
    #[arg(long, value_name = "TIME", value_parser = input::duration)]
    within: Option<Duration>,

    /// Who holds it, for people, instead of the host and the process id
    #[arg(long, value_name = "NAME")]
    held_by: Option<String>,

    /// When somebody asks to resign: how long the program has to stop before it is killed
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = input::duration)]
    stop_within: Duration,

    /// End when the lease is lost, with the exit code 6, instead of waiting for it again
    #[arg(long)]
    once: bool,

    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

pub(crate) async fn run(global: &Global, args: RunArgs) -> Result<u8> {
    let stop = signals::drain(crate::exec::kill_all)?;
    let begin = async { source::choose(global).await?.trunkline().await };
    let Some(trunkline) = signals::unless_stopped(&stop, begin).await? else { return Ok(signals::code()) };
    let ended = turns(&trunkline, &args, &stop).await;
    trunkline.close().await;
    ended
}

async fn turns(trunkline: &Trunkline, args: &RunArgs, stop: &watch::Receiver<bool>) -> Result<u8> {
    loop {
        let Some(lease) = signals::unless_stopped(stop, acquired(trunkline, args)).await? else {
            return Ok(signals::code());
        };
        info!(lease = lease.name(), fence = lease.fence(), "held");
        let mut program = Program::start(args, &lease).await?;
        match program.attend(&lease, args, stop).await? {
            End::Ended(code) => {
                info!(lease = lease.name(), code, "the program ended");
                return lease.resign().await.map_or(Ok(code), |()| Ok(code));
            }
            End::Stopped(loss) => {
                warn!(lease = lease.name(), reason = %loss, "the program was stopped");
                drop(lease);
                if args.once {
                    return Ok(CONFLICT);
                }
            }
        }
    }
}

async fn acquired(trunkline: &Trunkline, args: &RunArgs) -> Result<Lease> {
    let mut asking = trunkline.leases().acquire(&args.name).ttl(args.ttl);
    if let Some(who) = &args.held_by {
        asking = asking.held_by(who);
    }
    Ok(match args.within {
        None => asking.await?,
        Some(Duration::ZERO) => asking.now().await?.ok_or_else(|| {
            let text = format!("the lease {} is held, or waited for", args.name);
            trunkline::Error::new(trunkline::ErrorKind::TimedOut, text)
        })?,
        Some(most) => asking.within(most).await?,
    })
}

/// How a program's turn ended.
enum End {
    /// It ended by itself, or because we were told to stop.
    Ended(u8),
    /// It was stopped, since the lease was lost.
    Stopped(Loss),
}

/// The program, in the hands of its guard.
struct Program {
    _guard: Child,
    group: Group,
    says: Lines<BufReader<OwnedReadHalf>>,
    tell: OwnedWriteHalf,
}

impl Program {
    async fn start(args: &RunArgs, lease: &Lease) -> Result<Self> {
        let failed = |e| Failure::io("cannot start the program's guard", e);
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let mut guard = Command::new(std::env::current_exe().map_err(failed)?);
        guard.args(["leases", "guard", "--"]).args(&args.command).process_group(0).kill_on_drop(true);
        guard.env("TRUNKLINE_LEASE", lease.name()).env("TRUNKLINE_FENCE", lease.fence().to_string());
        guard.stdin(Stdio::from(OwnedFd::from(theirs)));
        let guard = guard.spawn().map_err(failed)?;
        let (says, mut tell) = UnixStream::from_std(ours).map_err(failed)?.into_split();
        let _ = tell.write_all(good_for(lease, args.ttl).as_bytes()).await;
        let mut says = BufReader::new(says).lines();
        let said = says.next_line().await.map_err(failed)?.unwrap_or_default();
        let id = said.strip_prefix("pid ").and_then(|id| id.parse().ok());
        let id = id.ok_or_else(|| Failure::Usage(said))?;
        Ok(Self { _guard: guard, group: Group::new(id), says, tell })
    }

    /// Until it has ended.
    async fn attend(&mut self, lease: &Lease, args: &RunArgs, stop: &watch::Receiver<bool>) -> Result<End> {
        let (mut stopped, mut kill_at) = (None, None);
        let (mut told, mut others) = (false, others()?);
        let mut tick = interval(TELL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                said = self.says.next_line() => {
                    let said = said.ok().flatten().unwrap_or_default();
                    let code = said.strip_prefix("code ").and_then(|code| code.parse().ok());
                    if code.is_some() {
                        self.group.ended();
                    }
                    return Ok(match (stopped, code) {
                        (Some(loss), _) => End::Stopped(loss),
                        (None, Some(code)) => End::Ended(code),
                        (None, None) => End::Stopped(Loss::Silent), // the guard's, when we were frozen; or it was killed
                    });
                }
                loss = lease.lost(), if stopped.is_none() => {
                    let time = if loss == Loss::Asked { args.stop_within } else { AT_ONCE };
                    info!(lease = lease.name(), reason = %loss, "stopping the program");
                    stopped = Some(loss);
                    kill_at = Some(Instant::now() + time);
                    self.group.signal(Signal::SIGTERM);
                }
                () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                    kill_at = None;
                    self.group.signal(Signal::SIGKILL);
                }
                () = signals::stopped(stop), if !told => {
                    told = true;
                    let interrupted = signals::code() == exit::INTERRUPTED;
                    self.group.signal(if interrupted { Signal::SIGINT } else { Signal::SIGTERM });
                }
                Some(signal) = others.recv() => self.group.signal(signal),
                _ = tick.tick() => if lease.is_valid() {
                    let _ = self.tell.write_all(good_for(lease, args.ttl).as_bytes()).await;
                }
            }
        }
    }
}

/// For how long the program may run if we say nothing more: until the middle between the end of our trust and that of the lease.
fn good_for(lease: &Lease, ttl: Duration) -> String {
    let left =
        lease.valid_until().map_or(Duration::ZERO, |until| until.duration_since(Instant::now().into_std()));
    let margin = Duration::from_secs(1).min(ttl / 4) / 2;
    format!("for {}\n", (left + margin).as_millis())
}

/// Other signals, to be passed on.
fn others() -> Result<mpsc::Receiver<Signal>> {
    let (tx, rx) = mpsc::channel(16);
    for (kind, passed) in [
        (SignalKind::hangup(), Signal::SIGHUP),
        (SignalKind::quit(), Signal::SIGQUIT),
        (SignalKind::user_defined1(), Signal::SIGUSR1),
        (SignalKind::user_defined2(), Signal::SIGUSR2),
    ] {
        let mut stream = signal(kind).map_err(|e| Failure::io("cannot watch signals", e))?;
        let tx = tx.clone();
        tokio::spawn(async move { while stream.recv().await.is_some() && tx.send(passed).await.is_ok() {} });
    }
    Ok(rx)
}
