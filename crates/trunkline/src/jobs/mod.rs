//! Jobs: push work, and one of many workers does each; with retries, delays, keys, priorities and dead letters.
//!
//! [`Jobs::push`] writes, [`Jobs::work`] runs a handler for each job. Guarantees, and what is not promised: `docs/jobs.md`.
//!
//! ```text
//!  push ──▶ [ring] ── slice of it: a lease ──▶ handler ── done, many in one row ──▶ seen until the segment is emptied
//!    │                                            └── failed, snoozed, its worker died ──┐
//!    └── run_at, key, unique ─────────▶ [held] ◀─────────────────────────────────────────┘
//!                                         └── due, its key's turn ──▶ handler ──▶ done, dead, cancelled
//! ```

mod attached;
mod attempt;
mod blocking;
mod clock;
mod cron;
mod cursor;
mod hand;
mod job;
mod layer;
mod load;
mod options;
mod pump;
mod push;
mod schedule;
mod signs;
mod task;
mod testing;
mod wait;
mod wire;
mod work;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _};
use tokio::{sync::watch, time::timeout};
use tokio_postgres::types::Type;

#[cfg(feature = "derive")]
pub use trunkline_derive::Task;

pub use self::{
    attached::Attach,
    job::{Job, NewJob, Outcome},
    layer::Next,
    schedule::{Missed, Schedule, Scheduled},
    signs::Progress,
    task::{Task, Tasks},
    testing::Ran,
    wait::Pending,
    work::{Work, Working},
};
use self::{blocking::Threads, wait::Waits};
use crate::{
    Result,
    connect::Pool,
    executor::{Executor, Param},
    listener::{Args, Listener},
    requests::{Failure, encode_headers},
    trace::Sending,
    writer::Writer,
};

const OPEN: &str = "select trunkline.job_open($1)";
const PAUSE: &str = "select trunkline.job_pause($1)";
const RESUME: &str = "select trunkline.job_resume($1)";
const CANCEL: &str = "select trunkline.job_cancel($1)";
const RETRY: &str = "select trunkline.job_retry($1)";
const DELETE: &str = "select trunkline.job_delete($1)";
const PUSH_ON: &str = "select trunkline._job_push_on($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// The engine behind all handles of one process.
#[derive(Debug)]
pub(crate) struct Engine {
    listener: Arc<Listener>,
    writer: Writer<NewJob>,
    waits: Arc<Waits>,
    /// For what would hold up the one connection.
    pool: Pool,
    /// Each worker holds a receiver for as long as it works.
    closing: watch::Sender<bool>,
    /// Set once the clock of the schedules runs.
    clock: OnceLock<()>,
}

impl Engine {
    pub(crate) fn start(listener: Arc<Listener>, pool: Pool) -> Arc<Self> {
        let (writer, waits) = (Writer::start(listener.clone()), Waits::new(listener.clone()));
        Arc::new(Self {
            listener,
            writer,
            waits,
            pool,
            closing: watch::Sender::new(false),
            clock: OnceLock::new(),
        })
    }

    /// Fires schedules from now on, until this process leaves.
    pub(crate) fn keep_schedules(&self) {
        self.clock.get_or_init(|| clock::start(self.listener.clone(), self.closing.subscribe()));
    }

    /// Tells every worker of this process to end, and its clock.
    pub(crate) fn leave(&self) {
        self.closing.send_replace(true);
    }

    /// Ends every worker of this process; what they run is handed back.
    pub(crate) async fn finished(&self) {
        self.leave();
        let _ = timeout(Duration::from_secs(5), self.closing.closed()).await;
    }
}

/// The handle for jobs; clones share one connection.
#[derive(Debug, Clone)]
pub struct Jobs {
    engine: Arc<Engine>,
}

impl Jobs {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Makes a queue, or finds it. A push and a worker make it as well.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for the name.
    pub async fn open(&self, queue: &str) -> Result<()> {
        self.engine.listener.link().await?.query(OPEN, &[(&queue, Type::TEXT)]).await.map(drop)
    }

    /// Pushes a job: its id, once it is committed. Those that many tasks push at the same time are written together.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for what is out of its limits. After
    /// [`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable) it may have been written.
    pub async fn push(&self, queue: &str, job: impl Into<NewJob>) -> Result<i64> {
        let (sending, mut job) = (Sending::new("push", queue), job.into());
        sending.mark(&mut job.headers);
        sending.one(push::push(&self.engine.writer, queue, vec![job])).await
    }

    /// Pushes jobs in one transaction: their ids, in order. All of them, or none.
    ///
    /// # Errors
    /// As [`Jobs::push`], with the number of the job.
    pub async fn push_all(
        &self,
        queue: &str,
        jobs: impl IntoIterator<Item = impl Into<NewJob>>,
    ) -> Result<Vec<i64>> {
        let (sending, mut jobs) =
            (Sending::new("push", queue), Vec::from_iter(jobs.into_iter().map(Into::into)));
        jobs.iter_mut().for_each(|job: &mut NewJob| sending.mark(&mut job.headers));
        sending.many(push::push(&self.engine.writer, queue, jobs)).await
    }

    /// Pushes jobs in bulk, as fast as COPY, in one transaction on a session of its own: how many. All or none; they are in memory
    /// a chunk at a time, however many there are.
    ///
    /// # Errors
    /// As [`Jobs::push`]. Dropping the future rolls back.
    pub async fn load<S>(&self, queue: &str, jobs: S) -> Result<u64>
    where
        S: Stream<Item = NewJob> + Send,
    {
        let sending = Sending::new("load", queue);
        let jobs = jobs.map(|mut job| {
            sending.mark(&mut job.headers);
            job
        });
        sending.load(load::load(&self.engine.pool, queue, jobs)).await
    }

    /// Pushes a job in your own transaction: it can be taken once that commits, and is gone with a rollback.
    ///
    /// # Errors
    /// As [`Jobs::push`].
    pub async fn push_on(
        &self,
        executor: &mut impl Executor,
        queue: &str,
        job: impl Into<NewJob>,
    ) -> Result<i64> {
        let (sending, mut job) = (Sending::new("push", queue), job.into());
        sending.mark(&mut job.headers);
        job.check()?;
        let (headers, options) = (encode_headers(&job.headers)?, job.options.encode());
        let params = [
            Param::Text(Some(queue)),
            Param::I32(job.payload.content().code().into()),
            Param::Bytes(Some(job.payload.bytes())),
            Param::Text(Some(&job.kind)),
            Param::Text(job.key.as_deref()),
            Param::Text(job.unique_key.as_deref()),
            Param::I32(job.priority.into()),
            Param::I64(job.delay_ms().unwrap_or(0)),
            Param::I32(job.max_attempts.unwrap_or(0)),
            Param::Text(headers.as_deref()),
            Param::Text(options.as_deref()),
        ];
        sending.run(executor.scalar(PUSH_ON, &params)).await
    }

    /// Runs a handler for each job of some queues, until [`Working::stop`] or until the handle is dropped.
    ///
    /// The handler returns `()`, a [`Payload`](crate::requests::Payload) or an [`Outcome`]; an error, a panic and a time-out are
    /// failed attempts. Each job is done at least once; for exactly once write in a transaction, and end the job in it
    /// ([`Job::complete_on`]).
    pub fn work<H, F, O>(&self, options: impl Into<Work>, handler: H) -> Working
    where
        H: Fn(Job) -> F + Send + Sync + 'static,
        F: Future<Output = std::result::Result<O, Failure>> + Send + 'static,
        O: Into<Outcome> + 'static,
    {
        let closing = self.engine.closing.subscribe();
        work::start(self.engine.listener.clone(), closing, options.into(), handler)
    }

    /// Runs a handler that blocks for each job of some queues, each on a thread of tokio's for what blocks: as [`Jobs::work`].
    /// Set [`Work::concurrency`] to no more than the runtime has of those (512 unless told).
    ///
    /// A thread cannot be stopped. After a time-out the attempt has failed, and the job can come again, while the thread goes
    /// on: it keeps its slot until it is back, what it returns is thrown away, and [`Job::is_cancelled`] tells it. A
    /// worker that stops hands back what still runs after its grace, and its threads go on; tokio's runtime waits for them when it
    /// is dropped.
    pub fn work_blocking<H, O>(&self, options: impl Into<Work>, handler: H) -> Working
    where
        H: Fn(Job) -> std::result::Result<O, Failure> + Send + Sync + 'static,
        O: Into<Outcome> + 'static,
    {
        let (mut options, threads) = (options.into(), Arc::<Threads>::default());
        options.threads = Some(threads.clone());
        self.work(options, blocking::on_threads(handler, threads))
    }

    /// Pauses a queue: nothing more is taken from it, and what runs goes on. False when it was paused.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for a queue that is not there.
    pub async fn pause(&self, queue: &str) -> Result<bool> {
        self.engine.listener.link().await?.value(PAUSE, &[(&queue, Type::TEXT)]).await
    }

    /// Resumes a queue that was paused. False when it was not.
    ///
    /// # Errors
    /// As [`Jobs::pause`].
    pub async fn resume(&self, queue: &str) -> Result<bool> {
        let resumed = self.engine.listener.link().await?.value(RESUME, &[(&queue, Type::TEXT)]).await;
        self.engine.listener.ring_all(); // nobody notifies itself
        resumed
    }

    /// Cancels a job: one that waits never runs; of one that runs the handler is told ([`Job::cancelled`]) within a second. False
    /// when it had ended.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for an id that is unknown, or done and forgotten.
    pub async fn cancel(&self, id: i64) -> Result<bool> {
        let args: &Args<'_> = &[(&id, Type::INT8)];
        let link = self.engine.listener.link().await?;
        let done: Option<String> = link.value(CANCEL, args).await?;
        self.engine.listener.ring(link.door()); // nobody notifies itself
        Ok(done.is_some())
    }

    /// Makes a job run now that is dead or cancelled, or waits for its time or its next attempt. False when there is nothing to
    /// be done about it.
    ///
    /// # Errors
    /// As [`Jobs::cancel`].
    pub async fn retry(&self, id: i64) -> Result<bool> {
        let retried = self.engine.listener.link().await?.value(RETRY, &[(&id, Type::INT8)]).await;
        self.engine.listener.ring_all();
        retried
    }

    /// Deletes a job that ended and is held: a dead letter, a cancelled job, or one that is done. False for one that waits or
    /// runs, which is to be cancelled first, and for one of the ring, which goes with its segment.
    ///
    /// # Errors
    /// As [`Jobs::cancel`].
    pub async fn delete(&self, id: i64) -> Result<bool> {
        self.engine.listener.link().await?.value(DELETE, &[(&id, Type::INT8)]).await
    }
}
