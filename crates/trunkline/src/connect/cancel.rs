//! Stopping a statement whose caller has gone away.
//!
//! Dropping a future of the driver leaves its statement running on the server. [`CancelOnDrop`] sends PostgreSQL's
//! cancel request then, with the TLS of its connection. A cancel request names a session, not a statement, and may
//! arrive late: after one was sent the session must not be given other work. [`Pool`](super::Pool) keeps that rule by
//! closing the session.

use crate::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::CancelToken;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long one cancel request may take to be sent.
const SEND: Duration = Duration::from_secs(5);

/// Sends cancel requests for one session.
#[derive(Clone)]
pub struct Canceller {
    token: CancelToken,
    tls: MakeRustlsConnect,
}

impl Canceller {
    pub(super) fn new(token: CancelToken, tls: MakeRustlsConnect) -> Self {
        Self { token, tls }
    }

    /// Asks the server to stop what the session does now. That it was sent does not mean that it had an effect.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`], [`ErrorKind::TimedOut`].
    pub async fn cancel(&self) -> Result<()> {
        match timeout(SEND, self.token.cancel_query(self.tls.clone())).await {
            Ok(sent) => sent.map_err(Into::into),
            Err(_) => Err(Error::new(ErrorKind::TimedOut, "the cancel request could not be sent in 5 s")),
        }
    }

    /// A guard that cancels when dropped, unless [`CancelOnDrop::disarm`] was called.
    pub fn on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(Some(self.clone()))
    }
}

impl std::fmt::Debug for Canceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Canceller").finish_non_exhaustive()
    }
}

/// Cancels the running statement of its session when dropped. The request is sent by a task of the current tokio
/// runtime; dropped outside of one, it does nothing.
#[derive(Debug)]
#[must_use = "dropping it cancels"]
pub struct CancelOnDrop(Option<Canceller>);

impl CancelOnDrop {
    /// The statement has ended; nothing is to be cancelled.
    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let (Some(canceller), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                if let Err(e) = canceller.cancel().await {
                    tracing::warn!(error = %e, "a statement could not be cancelled");
                }
            });
        }
    }
}
