//! `trunkline jobs work`: run a command for each job of some queues.
//!
//! SIGTERM or SIGINT drains: no more is taken, what runs ends, for `--grace` at most; then it is handed back. The second one ends
//! at once. What if it dies here: what ran comes again elsewhere, its attempt counted; after a SIGKILL its commands run on.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::Args;
use tokio::time::Instant;
use tokio_postgres::types::Type;
use tracing::{debug, info, warn};
use trunkline::{
    Trunkline,
    connect::Purpose,
    jobs::{Job, Outcome, Work},
    requests::Failure,
};

use super::{command::Command, exec};
use crate::{
    args::Global,
    exit::{OK, Result},
    input,
    progress::{self, Progress},
    signals,
    source::{self, Database},
};

/// How many could run now.
const WAITING: &str =
    "select coalesce(sum(waiting), 0)::bigint from trunkline.job_queues() where queue = any ($1)";

/// Options of `jobs work`.
#[derive(Debug, Args)]
pub(crate) struct WorkArgs {
    /// The queues; of jobs of the same priority those of the first one go first
    #[arg(value_name = "QUEUE", required = true)]
    queues: Vec<String>,

    /// Run this with sh for each job: payload on stdin; {} in it is the payload as one word
    ///
    /// An exit status other than 0 is a failed attempt, with the status and the end of stderr as its error: the job comes again
    /// later, and is a dead letter in the end. The command is killed when the job is cancelled or takes too long. It gets
    /// TRUNKLINE_QUEUE, TRUNKLINE_JOB_ID, TRUNKLINE_KIND, TRUNKLINE_KEY, TRUNKLINE_ATTEMPT, TRUNKLINE_MAX_ATTEMPTS, and
    /// TRUNKLINE_HEADER_NAME for each header. {} is for text of at most 131,008 bytes; nothing in it is taken for a command,
    /// also within quotes.
    #[arg(long, value_name = "CMD", value_parser = Command::read)]
    exec: Command,

    /// Keep what the command prints as the job's result
    #[arg(long)]
    result: bool,

    /// How many jobs run at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    concurrency: u16,

    /// How long an attempt may take; then its command is killed, and it has failed
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    timeout: Option<Duration>,

    /// How long to wait for what runs when it is time to stop; the rest is handed back
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = input::duration)]
    grace: Duration,

    /// End when there is nothing that could run now
    ///
    /// What waits for its time or its next attempt is left.
    #[arg(long)]
    drain: bool,

    /// Take exactly this many jobs, and end when they have ended
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

fn some_time(text: &str) -> Result<Duration, String> {
    let found = input::duration(text)?;
    (!found.is_zero()).then_some(found).ok_or_else(|| "must be more than 0".to_owned())
}

impl WorkArgs {
    fn options(&self) -> Work {
        let first = Work::queue(self.queues.first().map(String::as_str).unwrap_or_default());
        let all = self.queues.iter().skip(1).fold(first, Work::and);
        let mut options = all.concurrency(self.concurrency.into()).grace(self.grace);
        if let Some(timeout) = self.timeout {
            options = options.timeout(timeout);
        }
        if self.drain {
            options = options.drain();
        }
        match self.count {
            Some(count) => options.at_most(count),
            None => options,
        }
    }
}

/// What became of the attempts.
struct Tally {
    done: AtomicU64,
    failed: AtomicU64,
    stopping: AtomicBool,
    progress: Mutex<Progress>,
}

impl Tally {
    /// One more has ended.
    fn add(&self, to: &AtomicU64) {
        to.fetch_add(1, Ordering::Relaxed);
        let (done, failed) = self.counts();
        let said = if failed == 0 { String::new() } else { format!("({failed} failed)") };
        debug!(done, failed, "an attempt ended");
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).add(1, said);
    }

    fn counts(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

pub(crate) async fn run(global: &Global, args: WorkArgs) -> Result<u8> {
    let stop = signals::drain(crate::exec::kill_all)?;
    let begin = async {
        let database = source::choose(global).await?;
        let trunkline = database.trunkline().await?;
        for queue in &args.queues {
            trunkline.jobs().open(queue).await?;
        }
        let progress = progress(global, &args, &database).await;
        Ok((trunkline, progress))
    };
    let Some((trunkline, progress)) = signals::unless_stopped(&stop, begin).await? else { return Ok(OK) };
    let (done, failed, stopping) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let tally = Arc::new(Tally { done, failed, stopping, progress: Mutex::new(progress) });
    let ended = work(&trunkline, &args, &tally, &stop).await;
    *tally.progress.lock().unwrap_or_else(PoisonError::into_inner) = Progress::none();
    let (done, failed) = tally.counts();
    info!(done, failed, "stopped");
    trunkline.close().await;
    ended.map(|()| signals::code())
}

/// A bar for what is to be drained.
async fn progress(global: &Global, args: &WorkArgs, database: &Database) -> Progress {
    if !args.drain || !progress::seen(global) {
        return Progress::none();
    }
    let waiting = match database.plain(Purpose::Work).await {
        Ok(plain) => plain.one::<i64>(WAITING, &[(&args.queues, Type::TEXT_ARRAY)]).await,
        Err(e) => Err(e),
    };
    // Who may work need not have the right to count.
    let waiting = waiting.ok().and_then(|n| u64::try_from(n).ok());
    Progress::count(global, waiting.map(|n| n.min(args.count.unwrap_or(n))))
}

async fn work(
    trunkline: &Trunkline,
    args: &WorkArgs,
    tally: &Arc<Tally>,
    stop: &tokio::sync::watch::Receiver<bool>,
) -> Result<()> {
    let (command, keep, seen) = (Arc::new(args.exec.clone()), args.result, tally.clone());
    let mut working = trunkline.jobs().work(args.options(), move |job| {
        let (command, seen) = (command.clone(), seen.clone());
        async move { attempt(&command, keep, job, &seen).await }
    });
    info!(queues = args.queues.join(" "), "working");
    let ended = tokio::select! {
        ended = working.ended() => Some(ended),
        () = signals::stopped(stop) => None,
    };
    match ended {
        Some(ended) => Ok(ended?),
        None => {
            tally.stopping.store(true, Ordering::Relaxed);
            Ok(working.stop().await?)
        }
    }
}

/// Tells of an attempt whose future was dropped: it took too long, or was handed back.
struct Watch<'a> {
    job: &'a Job,
    tally: &'a Tally,
    ended: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let (id, attempt) = (self.job.id, self.job.attempt);
        match self.ended {
            true => {}
            false if self.tally.stopping.load(Ordering::Relaxed) => warn!(id, attempt, "handed back"),
            false => {
                warn!(id, attempt, "timed out");
                self.tally.add(&self.tally.failed);
            }
        }
    }
}

async fn attempt(command: &Command, keep: bool, job: Job, tally: &Tally) -> Result<Outcome, Failure> {
    let since = Instant::now();
    let mut watch = Watch { job: &job, tally, ended: false };
    let outcome = exec::run(command, keep, &job).await;
    watch.ended = true;
    let (id, attempt, kind, took) = (job.id, job.attempt, &job.kind, since.elapsed());
    match &outcome {
        Ok(_) => {
            debug!(id, kind, attempt, ?took, "done");
            tally.add(&tally.done);
        }
        Err(e) => {
            warn!(id, kind, attempt, code = e.code, error = e.message, ?took, "failed");
            tally.add(&tally.failed);
        }
    }
    outcome
}
