//! A task that goes on until it is told to stop: what the handles to handlers at work have inside.

use tokio::{sync::watch, task::JoinHandle};

use crate::Result;

#[derive(Debug)]
pub(crate) struct Running<S> {
    stop: watch::Sender<S>,
    task: Option<JoinHandle<Result<()>>>,
}

impl<S> Running<S> {
    /// Starts it with how it stands now, which it hears changes of.
    pub(crate) fn start<F>(now: S, task: impl FnOnce(watch::Receiver<S>) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(now);
        Self { task: Some(tokio::spawn(task(stopped))), stop }
    }

    pub(crate) fn tell(&self, stop: S) {
        self.stop.send_replace(stop);
    }

    /// What ended it, told once. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> Result<()> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let ended = task.await.unwrap_or(Ok(()));
        self.task = None;
        ended
    }

    /// Stops it at its next `.await`.
    pub(crate) fn abort(&self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
