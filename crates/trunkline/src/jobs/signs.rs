//! What a handler and its worker tell each other while it works: that it is alive, how far it has come, that its own transaction
//! ended the job; and that there is no use in going on.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{sync::Notify, time::Instant};
use tokio_postgres::types::Type;

use super::{Job, Jobs, job::stale, wire};
use crate::{Error, ErrorKind, Result, listener::Listener};

const PROGRESS_OF: &str = "select percent, message, at from trunkline._job_progress_of($1)";

/// What is known of a handler at its work. One for each attempt, and all that it allocates beside its task.
#[derive(Debug)]
pub(super) struct Signs {
    pub(super) listener: Arc<Listener>,
    pub(super) began: Instant,
    /// Milliseconds after that.
    last: AtomicU64,
    pub(super) completed: AtomicBool,
    /// The job was cancelled, or handed on.
    ended: AtomicBool,
    told: Notify,
    /// The attempt is over, whatever its handler still does.
    over: AtomicBool,
}

/// The worker's end of it: dropped when the attempt is over.
#[derive(Debug)]
pub(super) struct Attempt(pub(super) Arc<Signs>);

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

impl Signs {
    pub(super) fn new(listener: Arc<Listener>) -> Arc<Self> {
        Arc::new(Self {
            listener,
            began: Instant::now(),
            last: AtomicU64::new(0),
            completed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            told: Notify::new(),
            over: AtomicBool::new(false),
        })
    }

    /// Tells the handler that there is no use in going on.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.told.notify_waiters();
    }

    /// Waits until it is told so. Cancel-safe.
    pub(super) async fn ended(&self) {
        let mut told = pin!(self.told.notified());
        told.as_mut().enable();
        if !self.ended.load(Ordering::SeqCst) {
            told.await;
        }
    }

    pub(super) fn beat(&self) {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.fetch_max(passed, Ordering::Relaxed);
    }

    /// The last sign of life.
    pub(super) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

/// How far a job has come, as its handler said last.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// 0 to 100.
    pub percent: u8,
    /// What it was doing.
    pub message: String,
    /// When it said so, by the database's clock.
    pub at: SystemTime,
}

impl Job {
    /// Says that the handler is alive: see [`Work::heartbeat_timeout`](super::Work::heartbeat_timeout). It costs nothing, and
    /// nothing is sent.
    pub fn heartbeat(&self) {
        self.signs.beat();
    }

    /// Whether there is no use in going on, as [`Job::cancelled`] tells; also once the attempt is over, because it took too
    /// long. For handlers that block.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.signs.ended.load(Ordering::SeqCst) || self.signs.over.load(Ordering::SeqCst)
    }

    /// Says how far the job has come, in percent and in words (at most 1,000 bytes), for whoever looks ([`Jobs::progress_of`],
    /// `trunkline jobs show`). It stays through the next attempts, and is forgotten with the job. A statement of its own, and a
    /// heartbeat too. When the future is dropped it may have been written.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when the job is no longer yours, [`ErrorKind::Invalid`] for more than 100 percent or a longer
    /// message, [`ErrorKind::Unreachable`] when the connection broke: it may have been written.
    pub async fn progress(&self, percent: u8, message: &str) -> Result<()> {
        self.heartbeat();
        if message.contains('\0') {
            return Err(Error::new(ErrorKind::Invalid, "message must not contain NUL"));
        }
        let link = self.signs.listener.link().await?;
        match wire::progress(&link, self.claim, self.id, percent.into(), message).await? {
            true => Ok(()),
            false => Err(stale(self.id)),
        }
    }
}

impl Jobs {
    /// How far a job has come, as its handler said last; none when it has said nothing, or the job is forgotten. Cancel-safe.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn progress_of(&self, id: i64) -> Result<Option<Progress>> {
        let rows = self.engine.listener.link().await?.query(PROGRESS_OF, &[(&id, Type::INT8)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let percent = u8::try_from(row.try_get::<_, i32>(0)?).unwrap_or(100);
        let message = row.try_get::<_, Option<String>>(1)?.unwrap_or_default();
        Ok(Some(Progress { percent, message, at: row.try_get(2)? }))
    }
}
