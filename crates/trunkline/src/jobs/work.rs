//! Workers: which queues, how many jobs at once, and the handle to stop them.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{Job, Outcome, attempt::performer, blocking::Threads, layer::Layer, pump::Pump};
use crate::{Error, ErrorKind, Result, listener::Listener, requests::Failure, running::Running};

/// A time that is as good as for ever, and can still be added to one of a clock: ten years.
const ENDLESS: Duration = Duration::from_secs(3650 * 86_400);

/// What to work on, and how.
#[derive(Debug, Clone)]
pub struct Work {
    pub(super) queues: Vec<String>,
    pub(super) concurrency: usize,
    pub(super) timeout: Option<Duration>,
    pub(super) heartbeat: Option<Duration>,
    pub(super) grace: Duration,
    pub(super) drain: bool,
    pub(super) most: Option<u64>,
    /// Middleware, outermost first.
    pub(super) layers: Vec<Layer>,
    /// Of a worker whose handler blocks.
    pub(super) threads: Option<Arc<Threads>>,
}

impl Work {
    /// A queue, 16 jobs at once.
    pub fn queue(name: impl Into<String>) -> Self {
        let grace = Duration::from_secs(30);
        Self {
            queues: vec![name.into()],
            concurrency: 16,
            timeout: None,
            heartbeat: None,
            grace,
            drain: false,
            most: None,
            layers: Vec::new(),
            threads: None,
        }
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

    /// How long a handler may be silent: when it neither ends nor gives a sign of life ([`Job::heartbeat`], [`Job::progress`])
    /// for so long, the attempt has failed, and its future is dropped. A handler that hangs is found so long before a time-out
    /// that is right for the slowest job. One that blocks its thread is found too, as long as the runtime has another thread;
    /// its attempt has failed then, and the thread goes on.
    #[must_use]
    pub fn heartbeat_timeout(mut self, most: Duration) -> Self {
        self.heartbeat = Some(most.min(ENDLESS));
        self
    }

    /// How long [`Working::stop`] waits for jobs that run: 30 s unless told. What has not ended by then is handed back, and
    /// the attempt does not count.
    #[must_use]
    pub fn grace(mut self, most: Duration) -> Self {
        self.grace = most.min(ENDLESS);
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

    pub(super) fn check(&self) -> Result<()> {
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
pub struct Working(Running<Stop>);

impl Working {
    /// Takes no more, and waits until what runs has ended, for [`Work::grace`] at most; the rest is handed back.
    ///
    /// # Errors
    /// What ended it before: see [`Working::ended`].
    pub async fn stop(mut self) -> Result<()> {
        self.0.tell(Stop::Drain);
        self.0.ended().await
    }

    /// Hands back what runs, at once: its futures are dropped, and these attempts do not count.
    ///
    /// # Errors
    /// What ended it before: see [`Working::ended`].
    pub async fn stop_now(mut self) -> Result<()> {
        self.0.tell(Stop::Now);
        self.0.ended().await
    }

    /// Completes when it works no longer: after [`Work::drain`], [`Work::at_most`], or what makes work impossible. Cancel-safe.
    ///
    /// # Errors
    /// What ended it, when that was not asked for: [`ErrorKind::Invalid`] for a queue's name, or a concurrency out of its limits,
    /// [`ErrorKind::Denied`], [`ErrorKind::Epoch`], [`ErrorKind::Schema`]; told once.
    pub async fn ended(&mut self) -> Result<()> {
        self.0.ended().await
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.tell(Stop::Now);
    }
}

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
    let run = performer(&options, handler);
    Working(Running::start(Stop::No, |stopped| async move {
        options.check()?;
        Pump::new(listener, options, run, (stopped, closing)).run().await
    }))
}
