//! Watching who holds a lease.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::watch;

use super::Engine;
use crate::{Result, listener::closed};

/// How a lease stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// The fence of its newest holder; 0 when it never had one.
    pub fence: i64,
    /// Who holds it; none when nobody does.
    pub held_by: Option<String>,
    /// Since when.
    pub since: Option<SystemTime>,
}

/// A lease being watched, until this is dropped.
#[derive(Debug)]
pub struct Watch {
    engine: Arc<Engine>,
    name: String,
    standing: watch::Receiver<Option<Standing>>,
}

impl Watch {
    pub(super) fn new(engine: Arc<Engine>, name: String) -> Self {
        let standing = engine.watch(&name);
        Self { engine, name, standing }
    }

    /// How the lease stands, the first time; then how it stands after each change. Of changes that follow each other at once
    /// it may tell the newest only; the fence says how many there were. A hand-over is told within moments, and that a holder
    /// is gone whom nobody follows within five seconds. Cancel-safe.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable) once this handle was closed. While the connection is down it waits.
    pub async fn next(&mut self) -> Result<Standing> {
        loop {
            self.standing.changed().await.map_err(|_| closed())?;
            if let Some(standing) = self.standing.borrow_and_update().clone() {
                return Ok(standing);
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.engine.unwatch(&self.name);
    }
}
