//! Rest: a process that has nothing in hand says so, is heard of seldom, and watches nobody.
//!
//! ```text
//!              the last Busy is dropped, and five seconds pass
//!   [busy] ────────────────────────────────────────────────────▶ [at rest]
//!     ▲  a sign of life each 1.5 s, good for 5 s                   │  one each 30 s, good for 100 s
//!     └────────────────────────────────────────────────────────────┘
//!        Listener::busy: at once, before anything is taken; and rings for those who watch
//! ```
//! The dead are buried by the others: each process looks once a second while any other is busy, asks for the door of the watch
//! when none is, and then looks each 30 s.
//!
//! Guarantee: what is taken after [`Listener::awake`] is its session's with a lease of five seconds, and somebody watches, if
//! anybody is there. What if it dies here: before it has said that it is busy it had nothing; after that, as ever. A wake-up
//! that is lost costs 30 s at most. Behind a pooler, where nobody can ring, no process rests.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{Asleep, LEASE, Link, Listener};
use crate::Result;

/// The door of the watch; also in the SQL of presence.
const DOOR: i32 = -130;
/// How often others are looked at, while any of them is busy and when none is.
const WATCH: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(30);
/// How long nothing must have been in hand.
const CALM: Duration = Duration::from_secs(5);
/// The most slices of a burial in a row, so that others come to their turn.
const SLICES: i32 = 50;
const REAP: &str = "select more, watch from trunkline._session_reap()";

/// What the process has in hand, and whether it has said that it has nothing.
#[derive(Debug)]
pub(super) struct Rest {
    busy: usize,
    since: Instant,
    pub(super) resting: bool,
}

impl Default for Rest {
    fn default() -> Self {
        Self { busy: 0, since: Instant::now(), resting: false }
    }
}

impl Rest {
    /// Whether it is time to say something else than before.
    pub(super) fn changes(&self) -> bool {
        self.resting && self.busy > 0
    }

    /// Whether the next sign of life says "at rest"; if so, it counts as said.
    pub(super) fn decide(&mut self) -> bool {
        let rests = self.busy == 0 && (self.resting || self.since.elapsed() >= CALM);
        self.resting |= rests;
        rests
    }

    /// The same for a new session.
    pub(super) fn begin(&mut self, pooled: bool) -> bool {
        self.resting = !pooled && self.busy == 0;
        self.resting
    }

    /// How long a sign of life is good for.
    pub(super) fn lease(rests: bool) -> f64 {
        if rests { 100.0 } else { LEASE.as_secs_f64() }
    }

    /// When the next one is due.
    pub(super) fn renewal(rests: bool) -> Duration {
        if rests { SELDOM } else { Duration::from_millis(1500) }
    }
}

/// While it lives, the process's death is noticed soon.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Listener>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.rest.send_modify(|r| (r.busy, r.since) = (r.busy - 1, Instant::now()));
    }
}

impl Listener {
    /// Has something in hand, from now on; whoever is about to take it waits for [`Listener::awake`] first.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.rest.send_modify(|r| r.busy += 1);
        Busy(self.clone())
    }

    /// Waits until the database knows that this process is busy; at once when it does. Cancel-safe.
    pub(crate) async fn awake(&self) {
        let _ = self.rest.subscribe().wait_for(|r| !r.resting).await;
    }
}

/// Buries the dead, for as long as the process lives.
pub(super) async fn watch(listener: Arc<Listener>) {
    let mut bell = listener.bell(DOOR);
    let mut asleep: Option<Asleep> = None;
    let mut closing = listener.closing();
    let round = async {
        loop {
            let Ok(link) = listener.link().await else { return };
            let (done, watch) = match reap(&link).await {
                Ok(found) => found,
                Err(e) => {
                    debug!(error = %e, "cannot look for dead sessions");
                    (0, true)
                }
            };
            if done > 0 {
                listener.ring_all(); // our own session's rings do not notify us
            }
            if watch || link.pooled {
                asleep = None;
                sleep(WATCH).await;
                continue;
            }
            if asleep.as_ref().is_some_and(|a| a.lasts(&listener)) {
                let _ = tokio::time::timeout(SELDOM, bell.rung()).await;
            } else {
                asleep = listener.doze(&[DOOR]).await.ok();
            }
        }
    };
    tokio::select! {
        () = round => {}
        () = super::turned(&mut closing) => {}
    }
}

/// Buries sessions whose process is gone, slice by slice, so that others' statements come between: how much there was to
/// do, zero for nothing; and whether somebody is to be watched.
pub(crate) async fn reap(link: &Link) -> Result<(i32, bool)> {
    for done in 0..SLICES {
        let rows = link.query(REAP, &[]).await?;
        let (more, watch) = match rows.first() {
            Some(row) => (row.try_get(0)?, row.try_get(1)?),
            None => (false, true),
        };
        if !more {
            return Ok((done, watch));
        }
    }
    Ok((SLICES, true))
}
