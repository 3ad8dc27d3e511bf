//! SIGINT and SIGTERM for commands that run until told otherwise: the first drains, the second ends at once.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::exit::{self, Failure, Result};

/// Whether it was Ctrl-C that told us to stop.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What a drained command ends with: 130 after Ctrl-C, 0 after SIGTERM or by itself.
pub(crate) fn code() -> u8 {
    if INTERRUPTED.load(Ordering::Relaxed) { exit::INTERRUPTED } else { exit::OK }
}

/// Turns true at the first SIGINT or SIGTERM. At the second `now` runs and the process ends.
pub(crate) fn drain(now: fn()) -> Result<watch::Receiver<bool>> {
    let failed = |e| Failure::io("cannot watch signals", e);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let (tx, rx) = watch::channel(false);
    tokio::spawn(async move {
        for round in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => INTERRUPTED.store(true, Ordering::Relaxed),
                _ = terminate.recv() => {}
            }
            if round == 0 {
                tracing::info!("stopping; once more to stop at once");
                tx.send_replace(true);
            }
        }
        now();
        std::process::exit(i32::from(exit::INTERRUPTED));
    });
    Ok(rx)
}

/// Runs this at each SIGHUP, for as long as the process lives.
pub(crate) fn at_hangup(mut work: impl FnMut() + Send + 'static) -> Result<()> {
    let mut hangup = signal(SignalKind::hangup()).map_err(|e| Failure::io("cannot watch signals", e))?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            work();
        }
    });
    Ok(())
}

/// Runs what comes before the service begins; none when it is time to stop before that is done.
pub(crate) async fn unless_stopped<T>(
    stop: &watch::Receiver<bool>,
    work: impl Future<Output = Result<T>>,
) -> Result<Option<T>> {
    tokio::select! {
        done = Box::pin(work) => done.map(Some),
        () = stopped(stop) => Ok(None),
    }
}

/// Completes when it is time to stop.
pub(crate) async fn stopped(stop: &watch::Receiver<bool>) {
    let _ = stop.clone().wait_for(|s| *s).await;
}
