//! For tests of programs that push and do jobs: what is due is run in the caller's task, and the clock can be moved.
//!
//! ```no_run
//! # async fn test(trunkline: trunkline::Trunkline) -> trunkline::Result<()> {
//! # use trunkline::{jobs::{Job, Work}, requests::Failure};
//! let jobs = trunkline.jobs();
//! let handler = |job: Job| async move { job.payload.text().map(drop).map_err(Failure::from) };
//! let ran = jobs.run_due(Work::queue("mail"), handler).await?; // one after the other, and it is known what each answered
//! assert!(ran.iter().all(|r| r.answer.is_ok()));
//! jobs.forward(std::time::Duration::from_secs(3600)).await?; // what waits for its time or its next attempt comes due
//! # Ok(())
//! # }
//! ```
//! To work on all there is with several at once, and until there is nothing more: [`Work::drain`].

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::sleep};
use tokio_postgres::types::Type;
use tracing::debug;

use super::{
    Job, Jobs, Outcome, Work,
    attempt::{Perform, performer},
    cursor::Cursors,
    hand::{Hand, Verdict},
    pump::token,
    signs::{Attempt, Signs},
    wire::{self, Claim, Queue, Taken, Wanted},
};
use crate::{ErrorKind, Result, listener::Listener, requests::Failure};

const FORWARD: &str = "select trunkline.job_forward(make_interval(secs => $1), $2)";

/// What [`Jobs::run_due`] ran.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ran {
    /// The job's id.
    pub id: i64,
    /// Its kind.
    pub kind: String,
    /// Which attempt it was.
    pub attempt: i32,
    /// What the handler answered; its panic, its time-out and its silence as failures too.
    pub answer: std::result::Result<Outcome, Failure>,
}

impl Jobs {
    /// For tests: runs what is due now, one after the other, in the caller's task, until nothing is due: what each answered, in
    /// that order. What comes due by it, pushed by a handler or failed with no time to wait, is run too, up to
    /// [`Work::at_most`]. Of the options concurrency and grace do not matter. Handlers are not told of a cancel.
    ///
    /// Not cancel-safe: when it is dropped, what it had run has ended, and is not told; the job that it was at is handed back.
    ///
    /// # Errors
    /// What the database reports. Every end that was told before is written.
    pub async fn run_due<H, F, O>(&self, options: impl Into<Work>, handler: H) -> Result<Vec<Ran>>
    where
        H: Fn(Job) -> F + Send + Sync + 'static,
        F: Future<Output = std::result::Result<O, Failure>> + Send + 'static,
        O: Into<Outcome> + 'static,
    {
        let options = options.into();
        options.check()?;
        let link = self.engine.listener.link().await?;
        let queues = wire::queues(&link, &options.queues).await?;
        let inline = Inline { listener: self.engine.listener.clone(), queues };
        let perform = performer(&options, handler);
        let mut ran = Vec::new();
        let mut left = options.most.unwrap_or(u64::MAX);
        while left > 0 {
            let Some(taken) = inline.take().await? else { break };
            ran.push(inline.run(taken, &perform).await?);
            left -= 1;
        }
        Ok(ran)
    }

    /// For tests: moves the clock of jobs forward. All that waits for a time comes due as if so much had passed: how many. Needs
    /// the right of an admin or the owner; in SQL `job_forward`, for one queue too. When the future is dropped it may have been
    /// done.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for more than 3,650 days, [`ErrorKind::Denied`].
    pub async fn forward(&self, by: Duration) -> Result<u64> {
        let link = self.engine.listener.link().await?;
        let (secs, queue) = (by.as_secs_f64(), None::<&str>);
        let moved: i64 = link.value(FORWARD, &[(&secs, Type::FLOAT8), (&queue, Type::TEXT)]).await?;
        self.engine.listener.ring_all(); // nobody notifies itself
        Ok(u64::try_from(moved).unwrap_or(0))
    }
}

/// A worker that takes one at a time.
struct Inline {
    listener: Arc<Listener>,
    queues: Vec<Queue>,
}

impl Inline {
    /// The next job that is due; one that was cancelled before is ended here.
    async fn take(&self) -> Result<Option<Taken>> {
        let ids: Vec<i32> = self.queues.iter().map(|q| q.id).collect();
        for polite in (0_u32..).map(|tries| tries < 1000) {
            let link = self.listener.link().await?;
            let token = token();
            let wanted = Wanted { queues: &ids, most: 1, fair: false, polite, token };
            let mut look = match wire::take(&link, wanted, &mut Cursors::default()).await {
                Ok(look) => look,
                Err(e) => {
                    let link = self.listener.link().await?;
                    let _ = wire::give_back(&link, token).await;
                    return Err(e);
                }
            };
            let Some(taken) = look.jobs.pop() else {
                if !look.more {
                    return Ok(None);
                }
                sleep(Duration::from_millis(1)).await; // somebody else is taking
                continue;
            };
            let hold =
                Hold { listener: self.listener.clone(), claim: taken.claim, id: taken.id, over: false };
            let cancelled =
                look.cancels && wire::attend(&link, &[], &[taken.id]).await?.1.contains(&taken.id);
            if !cancelled {
                hold.let_go();
                return Ok(Some(taken));
            }
            hold.end(Verdict::cancelled()).await?;
        }
        Ok(None)
    }

    async fn run(&self, taken: Taken, perform: &Perform) -> Result<Ran> {
        let hold = Hold { listener: self.listener.clone(), claim: taken.claim, id: taken.id, over: false };
        let queue = self.queues.iter().find(|q| q.id == taken.queue);
        let (name, usual) = (queue.map_or("", |q| q.name.as_str()).into(), queue.map(|q| q.max_attempts));
        let signs = Signs::new(self.listener.clone());
        let _attempt = Attempt(signs.clone());
        let job = Job::of(taken, name, usual, signs.clone());
        let (id, kind, attempt) = (job.id, job.kind.clone(), job.attempt);
        let answer = perform(job).await;
        hold.end(Verdict::after(answer.clone(), &signs)).await?;
        Ok(Ran { id, kind, attempt, answer })
    }
}

/// A job in hand: handed back when it is dropped before its end.
struct Hold {
    listener: Arc<Listener>,
    claim: Claim,
    id: i64,
    over: bool,
}

impl Hold {
    fn let_go(mut self) {
        self.over = true;
    }

    /// Writes how the attempt ended.
    async fn end(mut self, verdict: Verdict) -> Result<()> {
        let verdict = match verdict {
            Verdict::Completed => {
                let link = self.listener.link().await?;
                match wire::ended(&link, self.claim, self.id).await? {
                    true => Verdict::Settled,
                    false => Verdict::not_committed(),
                }
            }
            verdict => verdict,
        };
        self.over = true;
        end(&self.listener, self.id, self.claim, verdict).await
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let (false, Ok(runtime)) = (self.over, Handle::try_current()) {
            let (listener, id, claim) = (self.listener.clone(), self.id, self.claim);
            runtime.spawn(async move { end(&listener, id, claim, Verdict::handed_back()).await });
        }
    }
}

/// Writes an end, when the connection is back if it breaks; a refused one is tried where the job may have been carried to.
async fn end(listener: &Arc<Listener>, id: i64, claim: Claim, verdict: Verdict) -> Result<()> {
    let mut hand = Hand::default();
    hand.ended(id, claim, verdict);
    while !hand.is_empty() {
        let ends = hand.unwritten();
        for single in ends.singles {
            let link = listener.link().await?;
            match wire::end(&link, &[&single.end], false).await {
                Ok(ended) if ended.is_empty() && single.end.claim.slice().is_some() => hand.carried(single),
                Ok(ended) => {
                    listener.ring(link.door()); // nobody notifies itself
                    if ended.is_empty() {
                        debug!(id, "an end was refused, or accepted before");
                    }
                }
                Err(e) if e.kind() == ErrorKind::Unreachable => {
                    listener.next_after(&link).await?;
                    hand.in_doubt(single);
                }
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}
