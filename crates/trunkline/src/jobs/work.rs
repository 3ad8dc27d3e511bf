//! Workers: which queues, how many jobs at once, and the handle to stop them.

use std::{panic::AssertUnwindSafe, pin::Pin, sync::Arc, sync::atomic::Ordering, time::Duration};

use futures_util::FutureExt;
use tokio::{sync::watch, task::JoinHandle};

use super::{Job, Outcome, hand::Verdict, pump::Pump};
use crate::{Error, ErrorKind, Result, listener::Listener, requests::Failure};

/// What to work on, and how.
#[derive(Debug, Clone)]
pub struct Work {
    pub(super) queues: Vec<String>,
    pub(super) concurrency: usize,
    pub(super) timeout: Option<Duration>,
    pub(super) grace: Duration,
    pub(super) drain: bool,
    pub(super) most: Option<u64>,
}

impl Work {
    /// A queue, 16 jobs at once.
    pub fn queue(name: impl Into<String>) -> Self {
        let grace = Duration::from_secs(30);
        Self { queues: vec![name.into()], concurrency: 16, timeout: None, grace, drain: false, most: None }
    }

    /// Another queue, in the same loop. Of those that have jobs of the same priority the first named goes first.
    #[must_use]
    pub fn and(mut self, name: impl Into<String>) -> Self {
        self.queues.push(name.into());
        self
    }

    /// How many jobs run at once in this process: 1 to 10,000. No more are taken than there are free slots.
    #[must_use]
    pub fn concurrency(mut self, most: usize) -> Self {
        self.concurrency = most;
        self
    }

    /// How long an attempt may take; then its future is dropped, and the attempt has failed.
    #[must_use]
    pub fn timeout(mut self, most: Duration) -> Self {
        self.timeout = Some(most);
        self
    }

    /// How long [`Working::stop`] waits for jobs that run: 30 s unless told. What has not ended by then is handed back, and
    /// the attempt does not count.
    #[must_use]
    pub fn grace(mut self, most: Duration) -> Self {
        self.grace = most;
        self
    }

    /// Ends by itself once there is nothing that could run now, and all that it took has ended: see [`Working::ended`]. What
    /// waits for a time, for its next attempt or for a job elsewhere is left.
    #[must_use]
    pub fn drain(mut self) -> Self {
        self.drain = true;
        self
    }

    /// Runs so many jobs at most, each attempt counted, and ends by itself once they have ended: see [`Working::ended`].
    #[must_use]
    pub fn at_most(mut self, jobs: u64) -> Self {
        self.most = Some(jobs);
        self
    }

    fn check(&self) -> Result<()> {
        if (1..=10_000).contains(&self.concurrency) {
            return Ok(());
        }
        let text = format!("concurrency must be 1 to 10000, got {}", self.concurrency);
        Err(Error::new(ErrorKind::Invalid, text))
    }
}

impl From<&str> for Work {
    fn from(queue: &str) -> Self {
        Self::queue(queue)
    }
}

/// How a worker is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    No,
    /// Take no more, and wait for what runs.
    Drain,
    /// Drop what runs, and hand it back.
    Now,
}

/// A worker. Dropping it hands back what it runs.
#[derive(Debug)]
pub struct Working {
    stop: watch::Sender<Stop>,
    task: Option<JoinHandle<Result<()>>>,
}

impl Working {
    /// Takes no more, and waits until what runs has ended, for [`Work::grace`] at most; the rest is handed back.
    ///
    /// # Errors
    /// What ended it before: see [`Working::ended`].
    pub async fn stop(mut self) -> Result<()> {
        self.stop.send_replace(Stop::Drain);
        self.ended().await
    }

    /// Hands back what runs, at once: its futures are dropped, and these attempts do not count.
    ///
    /// # Errors
    /// What ended it before: see [`Working::ended`].
    pub async fn stop_now(mut self) -> Result<()> {
        self.stop.send_replace(Stop::Now);
        self.ended().await
    }

    /// Completes when it works no longer: after [`Work::drain`], [`Work::at_most`], or what makes work impossible. Cancel-safe.
    ///
    /// # Errors
    /// What ended it, when that was not asked for: [`ErrorKind::Invalid`] for a queue's name, or a concurrency out of its limits,
    /// [`ErrorKind::Denied`], [`ErrorKind::Epoch`], [`ErrorKind::Schema`]; told once.
    pub async fn ended(&mut self) -> Result<()> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let ended = task.await.unwrap_or(Ok(()));
        self.task = None;
        ended
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.stop.send_replace(Stop::Now);
    }
}

/// What runs a job to its end, whatever the handler does.
pub(super) type Run = Arc<dyn Fn(Job) -> Pin<Box<dyn Future<Output = Verdict> + Send>> + Send + Sync>;

pub(super) fn start<H, F, O>(
    listener: Arc<Listener>,
    closing: watch::Receiver<bool>,
    options: Work,
    handler: H,
) -> Working
where
    H: Fn(Job) -> F + Send + Sync + 'static,
    F: Future<Output = std::result::Result<O, Failure>> + Send + 'static,
    O: Into<Outcome> + 'static,
{
    let (stop, stopped) = watch::channel(Stop::No);
    let (handler, timeout) = (Arc::new(handler), options.timeout);
    let run: Run = Arc::new(move |job| {
        let handler = handler.clone();
        Box::pin(attempt(job, timeout, handler))
    });
    let task = tokio::spawn(async move {
        options.check()?;
        Pump::new(listener, options, run, (stopped, closing)).run().await
    });
    Working { stop, task: Some(task) }
}

/// Runs a handler once; a panic and a time-out are failures like any other.
async fn attempt<H, F, O>(job: Job, most: Option<Duration>, handler: Arc<H>) -> Verdict
where
    H: Fn(Job) -> F,
    F: Future<Output = std::result::Result<O, Failure>>,
    O: Into<Outcome>,
{
    let completed = job.completed.clone();
    let work = AssertUnwindSafe(async { handler(job).await }).catch_unwind();
    let ran = match most {
        None => work.await,
        Some(most) => tokio::time::timeout(most, work).await.unwrap_or_else(|_| {
            Ok(Err(Failure::new("timed out", format!("the handler took longer than {most:?}"))))
        }),
    };
    match ran.unwrap_or_else(|_| Err(Failure::new("panic", "the handler panicked"))) {
        Ok(outcome) => match outcome.into() {
            Outcome::Done if completed.load(Ordering::Relaxed) => Verdict::Completed,
            outcome => Verdict::of(outcome),
        },
        Err(failure) => Verdict::failed(None, format!("{}: {}", failure.code, failure.message)),
    }
}
