//! Middleware: layers around the handler, the first one outermost.
//!
//! Guarantee: a layer sees how everything inside it ended, panics, time-outs and missing heartbeats included, as the answer of
//! [`Next::run`].

use std::{fmt, sync::Arc};

use super::{
    Job, Outcome, Work,
    attempt::{Answer, Doing, Perform, caught},
};
use crate::requests::Failure;

/// A function around the handler.
#[derive(Clone)]
pub(super) struct Layer(Arc<dyn Fn(Job, Next) -> Doing + Send + Sync>);

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Layer")
    }
}

/// The rest of the way to the handler: the layers inside this one, and the handler itself.
#[derive(Clone)]
pub struct Next {
    layers: Arc<[Layer]>,
    at: usize,
    perform: Perform,
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("layers", &(self.layers.len() - self.at)).finish_non_exhaustive()
    }
}

impl Next {
    pub(super) fn new(layers: Arc<[Layer]>, perform: Perform) -> Self {
        Self { layers, at: 0, perform }
    }

    /// Runs the rest, to its end. Dropping the future drops the handler.
    ///
    /// # Errors
    /// What the handler failed with; its panic (code `panic`), its time-out (`timed out`) and its silence (`no heartbeat`) too.
    pub async fn run(mut self, job: Job) -> std::result::Result<Outcome, Failure> {
        let rest = async move {
            match self.layers.get(self.at).cloned() {
                Some(layer) => {
                    self.at += 1;
                    layer.0(job, self).await
                }
                None => (self.perform)(job).await,
            }
        };
        caught(rest).await
    }
}

impl Work {
    /// Wraps the handler in middleware; of several, the first one is outermost. The layer runs `next`, or does not, and answers
    /// in the handler's place. [`Work::timeout`] and [`Work::heartbeat_timeout`] are the handler's: what a layer takes itself is
    /// not bounded.
    ///
    /// ```
    /// use trunkline::jobs::Work;
    ///
    /// let work = Work::queue("mail").wrap(|job, next| async move {
    ///     let (id, since) = (job.id, std::time::Instant::now());
    ///     let answer = next.run(job).await;
    ///     println!("job {id}: {} after {:?}", if answer.is_ok() { "ended" } else { "failed" }, since.elapsed());
    ///     answer
    /// });
    /// ```
    #[must_use]
    pub fn wrap<L, F>(mut self, layer: L) -> Self
    where
        L: Fn(Job, Next) -> F + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        self.layers.push(Layer(Arc::new(move |job, next| Box::pin(layer(job, next)))));
        self
    }
}
