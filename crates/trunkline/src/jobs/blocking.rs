//! Handlers that block: each runs on a thread of tokio's for what blocks, and its slot is taken until that thread is back.
//!
//! A thread cannot be stopped. When its attempt ends before it does (a time-out, a worker that stops), the attempt's end is
//! written at once and the job can run again elsewhere, while the thread goes on: no more jobs are taken in its place, what it
//! returns is thrown away, and [`Job::is_cancelled`] tells it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::task::spawn_blocking;
use tracing::Span;

use super::{
    Job, Outcome,
    attempt::{Doing, panicked},
};
use crate::requests::Failure;

/// The threads of a worker.
#[derive(Debug, Default)]
pub(super) struct Threads {
    /// Attempts of which a thread, or who waits for it, is still there; and who waits.
    threads: AtomicUsize,
    attended: AtomicUsize,
}

impl Threads {
    /// Threads whose attempt is over.
    pub(super) fn lingering(&self) -> usize {
        // In this order a thread that ends just now is counted rather once too often.
        let threads = self.threads.load(Ordering::SeqCst);
        threads.saturating_sub(self.attended.load(Ordering::SeqCst))
    }
}

/// A thread's part: dropped when it is back.
struct Thread(Arc<Threads>);

impl Thread {
    fn begin(threads: Arc<Threads>) -> (Self, Attended) {
        let attended = Attended { threads: threads.clone(), over: Arc::default() };
        threads.attended.fetch_add(1, Ordering::SeqCst);
        threads.threads.fetch_add(1, Ordering::SeqCst);
        (Self(threads), attended)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.0.threads.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The part of who waits for a thread: dropped with the attempt.
struct Attended {
    threads: Arc<Threads>,
    over: Arc<AtomicBool>,
}

impl Drop for Attended {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.threads.attended.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A handler that blocks as one that does not.
pub(super) fn on_threads<H, O>(handler: H, threads: Arc<Threads>) -> impl Fn(Job) -> Doing + Send + Sync
where
    H: Fn(Job) -> std::result::Result<O, Failure> + Send + Sync + 'static,
    O: Into<Outcome> + 'static,
{
    let handler = Arc::new(handler);
    move |job| {
        let (handler, threads) = (handler.clone(), threads.clone());
        Box::pin(async move {
            let (thread, attended) = Thread::begin(threads);
            let over = attended.over.clone();
            let span = Span::current();
            let work = spawn_blocking(move || {
                let (_thread, _within) = (thread, span.enter());
                if over.load(Ordering::SeqCst) {
                    return Err(Failure::new("too late", "the attempt was over before a thread was free"));
                }
                handler(job).map(Into::into)
            });
            let answer = work.await.unwrap_or_else(|_| Err(panicked()));
            drop(attended);
            answer
        })
    }
}
