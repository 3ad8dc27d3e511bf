//! What a handler tells while it works: that it is alive, how far it has come; and that its own transaction ended the job.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tokio_postgres::types::Type;

use super::{Job, Jobs, job::stale, wire};
use crate::{Error, ErrorKind, Result, listener::Listener};

const PROGRESS_OF: &str = "select percent, message, at from trunkline._job_progress_of($1)";

/// What is known of a handler at its work.
#[derive(Debug)]
pub(super) struct Signs {
    pub(super) listener: Arc<Listener>,
    began: Instant,
    /// Milliseconds after that.
    last: AtomicU64,
    pub(super) completed: AtomicBool,
}

impl Signs {
    pub(super) fn new(listener: Arc<Listener>) -> Arc<Self> {
        let (last, completed) = (AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(Self { listener, began: Instant::now(), last, completed })
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
        *self.ended.borrow() || self.ended.has_changed().is_err()
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
