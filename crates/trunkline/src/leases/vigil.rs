//! The vigil: who waits in the front of a queue asks the database once, and is answered when there is something to do.
//!
//! ```text
//!             a look says: held, and this process is first or second
//!   [none] ─────────────────────────────────────────────────────────▶ [kept] ──┐ 20 s: asked again
//!     ▲                                                                │  ▲─────┘
//!     ├── the holder's process is gone, or the lease is free and it is this one's turn ──▶ look
//!     └── the connection failed: the waits look by themselves, as often as each needs, until there is another
//! ```
//! It has a connection of its own, since the process's one carries everything else; only while it is wanted, and a minute more.
//! The statement waits in the server and looks there five times a second (`_lease_vigil`): at the queue, not at what this process
//! believes of it, so a hand-over between two statements, or before the first, is not missed.
//!
//! What if it dies here: it holds nothing. A process that is gone leaves its queues, and its statement ends with that; one that is
//! frozen is passed over, and its connection is ended by the server.

use std::{
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_postgres::{Client, types::Type};
use tracing::debug;

use crate::{Error, ErrorKind, Result, listener::Listener};

const VIGIL: &str = "select trunkline._lease_vigil($1, '20 s')";
/// In which it is answered for sure, or its connection is gone.
const ANSWERED: Duration = Duration::from_secs(25);
/// So long a connection is kept that is not wanted.
const SPARE: Duration = Duration::from_secs(60);
/// Between a connection that failed and the next one.
const RETRY: Duration = Duration::from_secs(3);
/// Between an end and the look that it asks for, where the database says that this process is in no queue's front.
const PAUSE: Duration = Duration::from_millis(200);

/// Whether it is wanted, and whether it is kept.
#[derive(Debug)]
pub(super) struct Vigil {
    wanted: watch::Sender<bool>,
    kept: AtomicBool,
}

impl Vigil {
    pub(super) fn new() -> Self {
        Self { wanted: watch::Sender::new(false), kept: AtomicBool::new(false) }
    }

    /// Somebody here is in a queue's front: true when the vigil is kept, so that it will be told.
    pub(super) fn wanted(&self) -> bool {
        self.wanted.send_if_modified(|w| !std::mem::replace(w, true));
        self.kept.load(Ordering::Relaxed)
    }

    /// Keeps it while it is wanted, and tells when to look.
    pub(super) async fn keep(&self, listener: &Listener, tell: impl Fn()) {
        let mut wanted = self.wanted.subscribe();
        loop {
            if wanted.wait_for(|w| *w).await.is_err() {
                return;
            }
            if listener.link().await.is_ok_and(|link| link.pooled) {
                return std::future::pending().await; // it would take one of the pooler's servers for itself
            }
            let kept = self.kept(listener, &mut wanted, &tell).await;
            if self.kept.swap(false, Ordering::Relaxed) {
                tell(); // they look by themselves
            }
            if let Err(e) = kept {
                debug!(error = %e, "leases: no vigil");
                sleep(RETRY).await;
            }
        }
    }

    /// On one connection, until it fails or was not wanted for a while.
    async fn kept(
        &self,
        listener: &Listener,
        wanted: &mut watch::Receiver<bool>,
        tell: &impl Fn(),
    ) -> Result<()> {
        let client = listener.aside("vigil").await?;
        loop {
            if timeout(SPARE, wanted.wait_for(|w| *w)).await.is_err() {
                return Ok(());
            }
            let session = listener.link().await?.session;
            let mut asked = pin!(ask(&client, session));
            self.kept.store(true, Ordering::Relaxed);
            let ripe = timeout(ANSWERED, &mut asked)
                .await
                .map_err(|_| Error::new(ErrorKind::Unreachable, "no answer"))??;
            if ripe == Some(false) {
                continue;
            }
            self.kept.store(false, Ordering::Relaxed);
            self.wanted.send_replace(false);
            if ripe.is_none() {
                sleep(PAUSE).await;
            }
            tell();
        }
    }
}

async fn ask(client: &Client, session: i32) -> Result<Option<bool>> {
    let rows = client.query_typed(VIGIL, &[(&session, Type::INT4)]).await?;
    rows.first().map_or(Ok(None), |row| Ok(row.try_get(0)?))
}
