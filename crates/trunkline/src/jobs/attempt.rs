//! One attempt: the handler within its limits, and within the layers around it; whatever it does, it ends in one answer.
//!
//! A panic, a time-out and a missing heartbeat are failures like any other. Does not guarantee that a handler which blocks its
//! thread stops: nothing can stop a thread.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    task::JoinHandle,
    time::{sleep, sleep_until, timeout},
};
use tracing::{Instrument as _, Span};

use super::{Job, Outcome, Work, layer::Next, signs::Signs};
use crate::{requests::Failure, trace};

/// What a handler answers.
pub(super) type Answer = std::result::Result<Outcome, Failure>;
pub(super) type Doing = Pin<Box<dyn Future<Output = Answer> + Send>>;
/// What runs a job to its end, whatever the handler does.
pub(super) type Perform = Arc<dyn Fn(Job) -> Doing + Send + Sync>;

/// How long a handler that was silent for too long has to let go of what it holds, before its attempt is written as failed.
const GOING: Duration = Duration::from_millis(20);

/// How long a handler may take, and be silent.
#[derive(Debug, Clone, Copy)]
struct Limits {
    timeout: Option<Duration>,
    heartbeat: Option<Duration>,
}

/// A handler within its limits and layers.
pub(super) fn performer<H, F, O>(options: &Work, handler: H) -> Perform
where
    H: Fn(Job) -> F + Send + Sync + 'static,
    F: Future<Output = std::result::Result<O, Failure>> + Send + 'static,
    O: Into<Outcome> + 'static,
{
    let limits = Limits { timeout: options.timeout, heartbeat: options.heartbeat };
    let handler = Arc::new(handler);
    // Caught once more: what is dropped when its time is over may panic as well.
    let mut perform: Perform = Arc::new(move |job| Box::pin(caught(once(job, limits, handler.clone()))));
    if !options.layers.is_empty() {
        let next = Next::new(options.layers.clone().into(), perform);
        perform = Arc::new(move |job| Box::pin(next.clone().run(job)));
    }
    Arc::new(move |job| {
        let span = trace::processing(&job.queue, None, job.id, &job.headers);
        let doing = perform(job);
        if span.is_disabled() { doing } else { Box::pin(traced(span, doing)) }
    })
}

/// An attempt in its span, which tells how it failed.
async fn traced(span: Span, doing: Doing) -> Answer {
    let answer = doing.instrument(span.clone()).await;
    if let Err(failure) = &answer {
        trace::failed(&span, &failure.code);
    }
    answer
}

/// Runs a handler once.
async fn once<H, F, O>(job: Job, limits: Limits, handler: Arc<H>) -> Answer
where
    H: Fn(Job) -> F + Send + Sync + 'static,
    F: Future<Output = std::result::Result<O, Failure>> + Send + 'static,
    O: Into<Outcome> + 'static,
{
    let signs = job.signs.clone();
    let work = caught(async move { handler(job).await.map(Into::into) });
    let Some(most) = limits.heartbeat else {
        return match limits.timeout {
            None => work.await,
            Some(most) => timeout(most, work).await.unwrap_or_else(|_| Err(timed_out(most))),
        };
    };
    // In a task of its own: a handler that blocks its thread would keep this one from ever looking at the clock.
    signs.beat();
    let mut task = Aborting(tokio::spawn(work.in_current_span()));
    let failure = tokio::select! {
        biased;
        ended = &mut task.0 => return ended.unwrap_or_else(|_| Err(panicked())),
        failure = overdue(limits.timeout, most, &signs) => failure,
    };
    task.0.abort();
    let _ = timeout(GOING, &mut task.0).await;
    Err(failure)
}

/// A panic as a failure.
pub(super) async fn caught(work: impl Future<Output = Answer>) -> Answer {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        // What was thrown is of any type, and its drop may throw again.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            std::mem::forget(again);
        }
        Err(panicked())
    })
}

pub(super) fn panicked() -> Failure {
    Failure::new("panic", "the handler panicked")
}

fn timed_out(most: Duration) -> Failure {
    Failure::new("timed out", format!("the handler took longer than {most:?}"))
}

/// Completes when a handler has taken too long, or was silent for too long.
async fn overdue(most: Option<Duration>, silent: Duration, signs: &Signs) -> Failure {
    let quiet = async {
        while let Some(until) = signs.last().checked_add(silent).filter(|u| u.elapsed().is_zero()) {
            sleep_until(until).await;
        }
    };
    match most {
        None => quiet.await,
        Some(most) => tokio::select! {
            () = sleep(most) => return timed_out(most),
            () = quiet => {}
        },
    }
    Failure::new("no heartbeat", format!("the handler gave no sign of life for {silent:?}"))
}

/// A task that ends with its handle.
struct Aborting(JoinHandle<Answer>);

impl Drop for Aborting {
    fn drop(&mut self) {
        self.0.abort();
    }
}
