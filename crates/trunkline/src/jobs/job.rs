//! A job: as it is pushed, as its handler sees it, and how an attempt at it can end.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use super::{
    options::Options,
    signs::Signs,
    wire::{COMPLETE_ON, Claim, Taken},
};
use crate::{
    Error, ErrorKind, Result,
    executor::{Executor, Param},
    requests::{Content, Headers, Payload, decode_headers, encode_headers},
};

/// For how long a job may wait, in milliseconds: 3,650 days, as `_job_ms` and `_job_due` have it.
pub(super) const LONGEST: i64 = 3650 * 86_400_000;

/// Until when a job waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    At(SystemTime),
    After(Duration),
}

/// A job to be pushed: a payload, and how it is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    pub(super) payload: Payload,
    pub(super) kind: String,
    pub(super) key: Option<String>,
    pub(super) unique_key: Option<String>,
    pub(super) priority: u8,
    pub(super) when: Option<When>,
    pub(super) max_attempts: Option<i32>,
    pub(super) headers: Headers,
    pub(super) options: Options,
}

impl NewJob {
    /// A job with this payload, to be done as soon as a worker is free.
    pub fn new(payload: impl Into<Payload>) -> Self {
        Self {
            payload: payload.into(),
            kind: String::new(),
            key: None,
            unique_key: None,
            priority: 5,
            when: None,
            max_attempts: None,
            headers: Headers::new(),
            options: Options::default(),
        }
    }

    /// Its kind: a word for handlers, at most 100 bytes.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// Its key, at most 1,000 bytes: jobs of one key run one at a time, in the order of their pushes.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// While a job with this key waits or runs in the queue, nothing is pushed, and that one's id comes back.
    #[must_use]
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(key.into());
        self
    }

    /// While a job of this kind with this payload (JSON: whatever the order of its members) waits or runs in the queue, nothing is
    /// pushed, and that one's id comes back.
    #[must_use]
    pub fn unique_payload(mut self) -> Self {
        self.options.unique_payload = true;
        self
    }

    /// What is unique stays so for this long from its push, also when it has ended: 1 ms to 3,650 days.
    #[must_use]
    pub fn unique_for(mut self, period: Duration) -> Self {
        self.options.unique_for = Some(period);
        self
    }

    /// What is unique is so only until a worker first takes it: what is pushed while it runs is another job.
    #[must_use]
    pub fn unique_while_waiting(mut self) -> Self {
        self.options.unique_while = Some("waiting");
        self
    }

    /// Where a job with the same unique key waits, it gets what this one has instead of its own: payload, kind, headers,
    /// priority, attempts and time to live; its key and its time stay. Unique while it waits.
    #[must_use]
    pub fn replace(mut self) -> Self {
        self.options.on_conflict = Some("replace");
        self
    }

    /// As [`NewJob::replace`], and it waits anew: with a [`NewJob::delay`] the job runs once nothing was pushed for that long.
    #[must_use]
    pub fn debounce(mut self) -> Self {
        self.options.on_conflict = Some("debounce");
        self
    }

    /// Time to live, 1 ms to 3,650 days: no attempt begins later than this after its push, or after the time that it waits for; it
    /// is cancelled instead.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.ttl = Some(ttl);
        self
    }

    /// From 1, which goes first, to 9; 5 unless told.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// Not before this time. How far off that is, this machine's clock tells; from there on it is the database's.
    #[must_use]
    pub fn run_at(mut self, at: SystemTime) -> Self {
        self.when = Some(When::At(at));
        self
    }

    /// Not before this long after it was pushed.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.when = Some(When::After(delay));
        self
    }

    /// How often it is tried before it is a dead letter: 1 to 10,000, the queue's unless told.
    #[must_use]
    pub fn max_attempts(mut self, most: u16) -> Self {
        self.max_attempts = Some(most.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// How long from now it is to wait, in milliseconds.
    pub(super) fn delay_ms(&self) -> Option<i64> {
        let left = match self.when? {
            When::At(at) => at.duration_since(SystemTime::now()).ok()?,
            When::After(delay) => delay,
        };
        Some(i64::try_from(left.as_millis()).unwrap_or(i64::MAX))
    }

    /// It needs nothing but to be done.
    pub(super) fn is_plain(&self) -> bool {
        self.key.is_none() && self.unique_key.is_none() && self.when.is_none() && self.options.is_none()
    }

    /// Refuses what no queue takes; sizes of payloads are the queue's affair.
    pub(super) fn check(&self) -> Result<()> {
        let most = |what, most: usize, got: usize| {
            if got <= most {
                return Ok(());
            }
            let text = format!("job {what} must be at most {most} bytes, got {got}");
            Err(Error::new(ErrorKind::Invalid, text))
        };
        most("kind", 100, self.kind.len())?;
        most("key", 1000, self.key.as_ref().map_or(0, String::len))?;
        most("unique_key", 1000, self.unique_key.as_ref().map_or(0, String::len))?;
        let nul = |t: &Option<String>| t.as_ref().is_some_and(|t| t.contains('\0'));
        if self.kind.contains('\0') || nul(&self.key) || nul(&self.unique_key) {
            return Err(Error::new(ErrorKind::Invalid, "job kind and keys must not contain NUL"));
        }
        if !(1..=9).contains(&self.priority) {
            let text = format!("job priority must be 1 (first) to 9 (last), got {}", self.priority);
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        if self.max_attempts.is_some_and(|m| !(1..=10_000).contains(&m)) {
            let got = self.max_attempts.unwrap_or(0);
            let text = format!("job max_attempts must be 1 to 10000, got {got}");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        if self.delay_ms().is_some_and(|ms| ms > LONGEST) {
            return Err(Error::new(ErrorKind::Invalid, "a job may wait for 3650 days at most"));
        }
        self.options.check(self.unique_key.as_deref())?;
        encode_headers(&self.headers).map(drop)
    }
}

impl<P: Into<Payload>> From<P> for NewJob {
    fn from(payload: P) -> Self {
        Self::new(payload)
    }
}

/// A job as its handler gets it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Job {
    /// Its id.
    pub id: i64,
    /// Its queue.
    pub queue: Arc<str>,
    /// Its kind.
    pub kind: String,
    /// What is to be done.
    pub payload: Payload,
    /// Its headers.
    pub headers: Headers,
    /// Its key; none for jobs that have none.
    pub key: Option<String>,
    /// 1 (first) to 9 (last).
    pub priority: u8,
    /// 1, or more when earlier attempts failed.
    pub attempt: i32,
    /// After so many attempts it is a dead letter.
    pub max_attempts: i32,
    /// When it was pushed.
    pub pushed_at: SystemTime,
    pub(super) claim: Claim,
    pub(super) signs: Arc<Signs>,
}

impl Job {
    /// What was taken from a queue, which gives so many attempts unless the job says otherwise.
    pub(super) fn of(taken: Taken, queue: Arc<str>, usual: Option<i32>, signs: Arc<Signs>) -> Self {
        Self {
            id: taken.id,
            queue,
            kind: taken.kind,
            payload: Payload::new(Content::of(taken.flags), taken.payload),
            headers: decode_headers(taken.headers.as_deref()),
            key: taken.key,
            priority: u8::try_from(taken.priority).unwrap_or(5),
            attempt: taken.attempt,
            max_attempts: taken.most_attempts.or(usual).unwrap_or(1),
            pushed_at: taken.at,
            claim: taken.claim,
            signs,
        }
    }

    /// Completes when somebody cancelled the job, or it was handed on because this process was cut off: there is no use in
    /// going on. Return an error then, not [`Outcome::Cancel`]: a cancelled job does not come again in any case, and one that was
    /// handed on must. Cancel-safe.
    pub async fn cancelled(&self) {
        self.signs.ended().await;
    }

    /// Ends the job as done in your own transaction, together with your writes: both are committed, or neither. Commit, then
    /// return [`Outcome::Done`]; after a rollback return an error.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when the job is no longer yours: roll back, your writes belong to nobody.
    pub async fn complete_on(&self, executor: &mut impl Executor) -> Result<()> {
        let claim = self.claim;
        let params = [
            Param::I32(claim.source),
            Param::I64(claim.number),
            Param::I64(claim.token),
            Param::I32(claim.slot),
            Param::I64(self.id),
        ];
        if executor.scalar(COMPLETE_ON, &params).await? == 0 {
            return Err(stale(self.id));
        }
        self.signs.completed.store(true, Ordering::Relaxed);
        Ok(())
    }
}

pub(super) fn stale(id: i64) -> Error {
    Error::new(ErrorKind::Stale, format!("job {id} is no longer yours: it ended, or was handed on"))
        .with_code("TL001")
}

/// How an attempt ended, for handlers that say more than done or failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Done.
    #[default]
    Done,
    /// Done, with what it yielded, which is kept with the job.
    Result(Payload),
    /// Failed: comes again after this long, unless it was the last attempt.
    Retry {
        /// How long, instead of the queue's backoff; 3,650 days at most, which is what a longer time comes to.
        after: Duration,
        /// What went wrong.
        error: String,
    },
    /// Not now: comes again after this long, or 3,650 days if that is sooner, and this attempt does not count.
    Snooze(Duration),
    /// Not any more: it is over, and no failure.
    Cancel(String),
    /// Failed for good: a dead letter, whatever attempts are left.
    Dead(String),
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Done
    }
}

impl From<Payload> for Outcome {
    fn from(result: Payload) -> Self {
        Self::Result(result)
    }
}
