//! Typed jobs: a type for each kind of job, and a handler for each type.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use trunkline::{
//!     jobs::{Job, NewJob, Task, Tasks},
//!     requests::Failure,
//! };
//!
//! #[derive(Serialize, Deserialize, Task)]
//! #[task(kind = "welcome", queue = "mail", max_attempts = 5)]
//! struct Welcome {
//!     to: String,
//! }
//!
//! # fn main() -> trunkline::Result<()> {
//! let job = NewJob::of(&Welcome { to: "ann".into() })?; // or jobs.push_task(&…), which knows the queue
//! let tasks = Tasks::new().on(|job: Job, task: Welcome| async move {
//!     println!("{}: welcome, {}", job.id, task.to);
//!     Ok::<_, Failure>(())
//! });
//! assert_eq!(tasks.kinds().collect::<Vec<_>>(), ["welcome"]);
//! # let _ = job;
//! # Ok(())
//! # }
//! ```
//!
//! Guarantees: a job whose payload is not of its kind's type is a dead letter at its first attempt, since no later one can go
//! better; one of a kind that nobody handles here is a failed attempt, and comes again, since another worker, or the next version
//! of this one, may know it. So deploy workers before whoever pushes a new kind, and give a payload that old workers cannot read
//! a new kind.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Job, Jobs, NewJob, Outcome, Work, Working,
    attempt::{Answer, Doing},
};
use crate::{
    Result,
    requests::{Failure, Payload},
};

/// A kind of job, and the type of its payload, which is kept as JSON. Derive it: `#[task(kind = "…")]`, and where the trait's
/// own word will not do `queue`, `max_attempts`, `priority`.
pub trait Task: Serialize + DeserializeOwned + Send + 'static {
    /// The kind, at most 100 bytes: what tells its jobs from others, in the database too.
    const KIND: &'static str;
    /// The queue that [`Jobs::push_task`] pushes to.
    const QUEUE: &'static str = "default";

    /// What all jobs of this kind are pushed with: attempts, a priority.
    #[must_use]
    fn options(job: NewJob) -> NewJob {
        job
    }
}

impl NewJob {
    /// A job of a typed kind; whatever else is to be said of it follows: `NewJob::of(&task)?.delay(hour)`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when the task cannot be serialized.
    pub fn of<T: Task>(task: &T) -> Result<Self> {
        Ok(T::options(Self::new(Payload::json(task)?).kind(T::KIND)))
    }
}

type Route = Arc<dyn Fn(Job) -> Doing + Send + Sync>;

/// Handlers, one for each kind of job: see [`Jobs::work_tasks`].
#[derive(Clone, Default)]
pub struct Tasks {
    routes: BTreeMap<&'static str, Route>,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.routes.keys()).finish()
    }
}

impl Tasks {
    /// Without any.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the handler of a kind. It answers as one of [`Jobs::work`] does. Of two for the same kind the later one counts.
    #[must_use]
    pub fn on<T, H, F, O>(mut self, handler: H) -> Self
    where
        T: Task,
        H: Fn(Job, T) -> F + Send + Sync + 'static,
        F: Future<Output = std::result::Result<O, Failure>> + Send + 'static,
        O: Into<Outcome> + 'static,
    {
        let handler = Arc::new(handler);
        let route: Route = Arc::new(move |job| match job.payload.parse::<T>() {
            Ok(task) => {
                let handler = handler.clone();
                Box::pin(async move { handler(job, task).await.map(Into::into) })
            }
            Err(e) => {
                let why = format!("the payload is not one of the kind {:?}: {e}", T::KIND);
                Box::pin(std::future::ready(Ok(Outcome::Dead(why))))
            }
        });
        self.routes.insert(T::KIND, route);
        self
    }

    /// The kinds that there are handlers for, in alphabetical order.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.routes.keys().copied()
    }

    /// All of them as one handler, for [`Jobs::work`] and [`Jobs::run_due`].
    pub fn into_handler(self) -> impl Fn(Job) -> Doing + Clone + Send + Sync + 'static {
        let routes = Arc::new(self.routes);
        move |job| match routes.get(job.kind.as_str()) {
            Some(route) => route(job),
            None => Box::pin(std::future::ready(unknown(&job.kind))),
        }
    }
}

fn unknown(kind: &str) -> Answer {
    Err(Failure::new("unknown kind", format!("no handler here for jobs of the kind {kind:?}")))
}

impl Jobs {
    /// Pushes a typed job to its kind's queue: its id. For another queue, or in your own transaction, push [`NewJob::of`] it.
    ///
    /// # Errors
    /// As [`Jobs::push`], and when the task cannot be serialized.
    pub async fn push_task<T: Task>(&self, task: &T) -> Result<i64> {
        self.push(T::QUEUE, NewJob::of(task)?).await
    }

    /// Runs the handler of its kind for each job of some queues: as [`Jobs::work`]. A kind without a handler is a failed
    /// attempt, which names it; a payload that is not of its kind's type is a dead letter at once.
    #[must_use = "dropping the handle stops the worker"]
    pub fn work_tasks(&self, options: impl Into<Work>, tasks: Tasks) -> Working {
        self.work(options, tasks.into_handler())
    }
}
