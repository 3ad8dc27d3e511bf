//! Schedules: jobs that are pushed at the times of a cron expression. `cron.rs` works out when, `clock.rs` fires them.
//!
//! Guarantees: each time is fired at most once, by any number of daemons, and none is lost when one of them dies; the job is
//! pushed in the transaction that sets the next time. Time is the database's clock.

use std::time::SystemTime;

use jiff::Timestamp;
use tokio_postgres::{Row, types::Type};

use super::{Jobs, NewJob, clock, cron::Times};
use crate::{
    Error, ErrorKind, Result,
    listener::Args,
    requests::{Payload, encode_headers},
};

const SCHEDULE: &str = "select trunkline._job_schedule($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
const UNSCHEDULE: &str = "select trunkline.job_unschedule($1)";
const PAUSE: &str = "select trunkline.job_schedule_pause($1)";
const RESUME: &str = "select trunkline.job_schedule_resume($1)";
const RUN: &str = "select trunkline.job_schedule_run($1)";
const LIST: &str = "select * from trunkline.job_schedules()";

/// What becomes of times for which nobody was there, because no daemon ran, or the database was away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Missed {
    /// Those of more than a minute ago are not fired.
    Skip,
    /// One job for all of them, with the newest time.
    #[default]
    One,
    /// A job for each, the oldest first.
    All,
}

impl Missed {
    pub(super) fn of(name: &str) -> Self {
        match name {
            "skip" => Self::Skip,
            "all" => Self::All,
            _ => Self::One,
        }
    }
}

impl std::fmt::Display for Missed {
    /// The word for it in SQL and on the command line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Skip => "skip",
            Self::One => "one",
            Self::All => "all",
        })
    }
}

/// A schedule: a name, a queue, a cron expression, and the job that is pushed at its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    name: String,
    queue: String,
    cron: String,
    zone: String,
    missed: Missed,
    job: NewJob,
}

impl Schedule {
    /// A schedule in UTC, with an empty payload. `cron` has five fields (minute, hour, day of the month, month, day of the week),
    /// or six with seconds before them, or is `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`; names of days and months, `L`,
    /// `#` and `W` are understood. Where both days are given, either will do.
    ///
    /// When the clock goes forward, a fixed time that it skips fires right after the gap; when it goes back, a fixed time that it
    /// repeats fires once. With `*` or `/` in hours, minutes or seconds it fires whenever the clock shows such a time.
    pub fn new(name: impl Into<String>, queue: impl Into<String>, cron: impl Into<String>) -> Self {
        let (name, queue, cron) = (name.into(), queue.into(), cron.into());
        Self { name, queue, cron, zone: "UTC".into(), missed: Missed::default(), job: NewJob::new("") }
    }

    /// The time zone whose clock counts, by its name: `Europe/Berlin`.
    #[must_use]
    pub fn zone(mut self, name: impl Into<String>) -> Self {
        self.zone = name.into();
        self
    }

    /// What becomes of times for which nobody was there; [`Missed::One`] unless told.
    #[must_use]
    pub fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// The payload of its jobs.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Payload>) -> Self {
        self.job.payload = payload.into();
        self
    }

    /// The kind of its jobs: a word for handlers, at most 100 bytes.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.job = self.job.kind(kind);
        self
    }

    /// The key of its jobs, at most 1,000 bytes: one runs at a time, so that none begins before the one before has ended.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.job = self.job.key(key);
        self
    }

    /// The priority of its jobs, from 1, which goes first, to 9; 5 unless told.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.job = self.job.priority(priority);
        self
    }

    /// How often a job is tried before it is a dead letter: 1 to 10,000, the queue's unless told.
    #[must_use]
    pub fn max_attempts(mut self, most: u16) -> Self {
        self.job = self.job.max_attempts(most);
        self
    }

    /// Adds a header to its jobs. They also get `schedule`, its name, and `scheduled_at`, the time they are for (RFC 3339, UTC).
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.job = self.job.header(name, value);
        self
    }

    /// Its first time after a moment: to show it, or to test an expression. Needs no database.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an expression that is wrong or names no time, and a zone that is
    /// unknown.
    pub fn next_after(&self, moment: SystemTime) -> Result<SystemTime> {
        let times = Times::read(&self.cron, &self.zone).map_err(|e| self.named(&e))?;
        let next = Timestamp::try_from(moment).ok().and_then(|m| times.next(m));
        let far = || self.named(&Error::new(ErrorKind::Invalid, "it has no time after that"));
        next.map(SystemTime::from).ok_or_else(far)
    }

    /// Refuses what cannot be, by name.
    fn check(&self) -> Result<()> {
        Times::read(&self.cron, &self.zone).map_err(|e| self.named(&e))?;
        self.job.check().map_err(|e| self.named(&e))
    }

    fn named(&self, e: &Error) -> Error {
        let name: String = self.name.chars().take(100).collect();
        Error::new(e.kind(), format!("schedule {name:?}: {e}"))
    }
}

/// A schedule as it is in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scheduled {
    /// Its name.
    pub name: String,
    /// The queue that its jobs are pushed to.
    pub queue: String,
    /// Its cron expression.
    pub cron: String,
    /// The time zone whose clock counts.
    pub zone: String,
    /// What becomes of times for which nobody was there.
    pub missed: Missed,
    /// The kind of its jobs.
    pub kind: String,
    /// Since when it is paused; none when it is not.
    pub paused_at: Option<SystemTime>,
    /// Its next time; none while it is paused, or nobody has worked it out yet.
    pub next_at: Option<SystemTime>,
    /// The newest time that was fired.
    pub last_at: Option<SystemTime>,
    /// The job that was pushed for it.
    pub last_job: Option<i64>,
    /// How many jobs it has pushed at its times.
    pub fires: i64,
    /// Why it could not be fired when that was tried last; it is tried again every minute.
    pub error: Option<String>,
}

impl Scheduled {
    fn of(row: &Row) -> Result<Self> {
        Ok(Self {
            name: row.try_get("name")?,
            queue: row.try_get("queue")?,
            cron: row.try_get("cron")?,
            zone: row.try_get("zone")?,
            missed: Missed::of(row.try_get("missed")?),
            kind: row.try_get("kind")?,
            paused_at: row.try_get("paused_at")?,
            next_at: row.try_get("next_at")?,
            last_at: row.try_get("last_at")?,
            last_job: row.try_get("last_job")?,
            fires: row.try_get("fires")?,
            error: row.try_get("error")?,
        })
    }
}

impl Jobs {
    /// Makes a schedule, or replaces the one of its name: true. The same again changes nothing: false; so do this at every start.
    /// Its queue is made where it is new. Somebody must fire it: `trunkline serve`, or [`Trunkline::maintain`](crate::Trunkline::maintain).
    ///
    /// With another expression or zone its times count from now on; other changes leave its next time as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an expression that is wrong or names no time, a zone that is unknown, and what is out of its
    /// limits; nothing is written then.
    pub async fn schedule(&self, schedule: Schedule) -> Result<bool> {
        schedule.check()?;
        let Schedule { name, queue, cron, zone, missed, job } = &schedule;
        let (content, payload) = (i32::from(job.payload.content().code()), job.payload.bytes());
        let (missed, headers) = (missed.to_string(), encode_headers(&job.headers)?);
        let args: &Args<'_> = &[
            (name, Type::TEXT),
            (queue, Type::TEXT),
            (cron, Type::TEXT),
            (zone, Type::TEXT),
            (&missed, Type::TEXT),
            (&content, Type::INT4),
            (&payload, Type::BYTEA),
            (&job.kind, Type::TEXT),
            (&job.key, Type::TEXT),
            (&i32::from(job.priority), Type::INT4),
            (&job.max_attempts, Type::INT4),
            (&headers, Type::TEXT),
        ];
        let changed = self.engine.listener.link().await?.value(SCHEDULE, args).await;
        self.engine.listener.ring(clock::DOOR); // nobody notifies itself
        changed
    }

    /// Removes a schedule; the jobs that it has pushed stay. False when there is none of this name.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn unschedule(&self, name: &str) -> Result<bool> {
        self.engine.listener.link().await?.value(UNSCHEDULE, &[(&name, Type::TEXT)]).await
    }

    /// Pauses a schedule: times that come while it is paused are not fired, and are not missed either. False when it was paused.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a schedule that is not there.
    pub async fn pause_schedule(&self, name: &str) -> Result<bool> {
        self.engine.listener.link().await?.value(PAUSE, &[(&name, Type::TEXT)]).await
    }

    /// Resumes a schedule that was paused: its next time is the first one from now on. False when it was not paused.
    ///
    /// # Errors
    /// As [`Jobs::pause_schedule`].
    pub async fn resume_schedule(&self, name: &str) -> Result<bool> {
        let resumed = self.engine.listener.link().await?.value(RESUME, &[(&name, Type::TEXT)]).await;
        self.engine.listener.ring(clock::DOOR);
        resumed
    }

    /// Pushes a schedule's job now: its id. Its next time stays as it is, and it may be paused.
    ///
    /// # Errors
    /// As [`Jobs::pause_schedule`], and as [`Jobs::push`].
    pub async fn run_schedule(&self, name: &str) -> Result<i64> {
        let id = self.engine.listener.link().await?.value(RUN, &[(&name, Type::TEXT)]).await;
        self.engine.listener.ring_all(); // whichever queue it is for
        id
    }

    /// The schedules, by name.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn schedules(&self) -> Result<Vec<Scheduled>> {
        let rows = self.engine.listener.link().await?.query(LIST, &[]).await?;
        rows.iter().map(Scheduled::of).collect()
    }

    /// One round of the clock that `trunkline serve` and [`Trunkline::maintain`](crate::Trunkline::maintain) keep: fires what is
    /// due, and works out the times of what is new. How many jobs were pushed. For programs that are started by a clock of their
    /// own; harmless at any time. Cancel-safe.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] without the rights of an admin. What is wrong with a single schedule is in its
    /// [`error`](Scheduled::error).
    pub async fn fire_schedules(&self) -> Result<u64> {
        Ok(clock::round(&self.engine.listener).await?.fired)
    }
}
