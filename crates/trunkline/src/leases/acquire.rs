//! Asking for a lease.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};
use uuid::Uuid;

use super::{
    Lease, TTL,
    engine::{Engine, Wait},
};
use crate::{Error, ErrorKind, Result, listener::closed};

/// A lease being asked for: await it to wait for it in turn.
#[derive(Debug)]
#[must_use = "nothing is acquired until this is awaited"]
pub struct Acquire {
    engine: Arc<Engine>,
    name: String,
    ttl: Duration,
    held_by: Option<String>,
    within: Option<Duration>,
}

impl Acquire {
    pub(super) fn new(engine: Arc<Engine>, name: String) -> Self {
        Self { engine, name, ttl: TTL, held_by: None, within: None }
    }

    /// How long it is good for without being renewed, 1 s to 1 day; 15 s unless told. What is longer is renewed less often. A
    /// holder that is dead, frozen or cut off is found out by its connection, whatever this is; behind a pooler by its session's
    /// presence.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// What people are shown as its holder, up to 100 characters; the host and the process id unless told.
    pub fn held_by(mut self, who: impl Into<String>) -> Self {
        self.held_by = Some(who.into());
        self
    }

    /// Gives up after so long: [`ErrorKind::TimedOut`].
    pub fn within(mut self, most: Duration) -> Self {
        self.within = Some(most);
        self
    }

    /// Acquires it if it is free and nobody waits for it; none if not. Does not wait, but for the connection. Cancel-safe.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for the name or the ttl, [`ErrorKind::Denied`], [`ErrorKind::Unreachable`] once this handle was closed
    /// or when the connection broke meanwhile, [`ErrorKind::Unsupported`] on a standby.
    pub async fn now(self) -> Result<Option<Lease>> {
        self.ask(false).await
    }

    async fn ask(self, waits: bool) -> Result<Option<Lease>> {
        let (tell, told) = oneshot::channel();
        let holder = Uuid::new_v4();
        let within = self.within;
        let text = format!("lease {} could not be had within {:?}", self.name, within.unwrap_or_default());
        let wait = Wait::new(self.name, self.ttl, self.held_by.unwrap_or_else(here), waits, tell);
        let waiting = Waiting { engine: self.engine, holder };
        waiting.engine.wait(holder, wait);
        let answer = match within {
            Some(most) => timeout(most, told).await.map_err(|_| Error::new(ErrorKind::TimedOut, text))?,
            None => told.await,
        };
        answer.unwrap_or_else(|_| Err(closed()))
    }
}

impl IntoFuture for Acquire {
    type Output = Result<Lease>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Lease>> + Send>>;

    /// Waits in turn. Cancel-safe: dropping it gives up the turn.
    ///
    /// Errors: as [`Acquire::now`], and [`ErrorKind::TimedOut`] with [`Acquire::within`]. While the connection is down it waits.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let lease = self.ask(true).await?;
            lease.ok_or_else(|| Error::new(ErrorKind::Other, "a wait ended without a lease"))
        })
    }
}

/// Gives up its place when it is dropped.
struct Waiting {
    engine: Arc<Engine>,
    holder: Uuid,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.engine.give_up(self.holder);
    }
}

/// This process, for people.
fn here() -> String {
    static HERE: OnceLock<String> = OnceLock::new();
    HERE.get_or_init(|| {
        let host = whoami::hostname().unwrap_or_else(|_| "unknown".to_owned());
        format!("{host}:{}", std::process::id())
    })
    .clone()
}
