//! A task that goes on until it is told to stop: what the handles to handlers at work have inside.

use tokio::{sync::watch, task::JoinHandle};

use crate::{Error, ErrorKind, Result};

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

    /// What ended it, told once; [`ErrorKind::Other`] when that was a panic of our own. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> Result<()> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let ended = match task.await {
            Ok(ended) => ended,
            Err(e) if e.is_panic() => Err(Error::new(ErrorKind::Other, "it ended by a panic of the library")),
            Err(_) => Ok(()), // aborted
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_no_success_and_an_abort_is_none_of_it() {
        let mut running = Running::start((), |_| async { panic!("on purpose") });
        assert_eq!(running.ended().await.map_err(|e| e.kind()), Err(ErrorKind::Other));
        let mut running = Running::start((), |_| std::future::pending());
        running.abort();
        assert!(running.ended().await.is_ok());
    }
}
