//! Rest: a process that has nothing in hand says so, is heard of seldom, and watches nobody.
//!
//! ```text
//!              the last Busy is dropped, and five seconds pass
//!   [busy] ────────────────────────────────────────────────────▶ [at rest]
//!     ▲  a sign of life each 1.5 s, good for 5 s                   │  one each 30 s, good for 100 s
//!     └────────────────────────────────────────────────────────────┘
//!        Listener::busy: at once, before anything is taken; and rings for those who watch
//! ```
//! Between the two is who holds leases only (Listener::holding): heard of as often as one who is busy, and watched by nobody, since
//! who waits for what it holds keeps a vigil of its own (`leases/vigil.rs`).
//!
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

/// How much a process is heard of and watched, by what it has in hand; the most last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pace {
    /// Nothing.
    Rest,
    /// Leases only: heard of often, and watched by those who wait for them.
    Hold,
    /// Anything else: heard of often, and watched by all.
    Work,
}

impl Pace {
    /// How long a sign of life is good for.
    pub(super) fn lease(self) -> f64 {
        if self == Self::Rest { 100.0 } else { LEASE.as_secs_f64() }
    }

    /// When the next one is due.
    pub(super) fn renewal(self) -> Duration {
        if self == Self::Rest { SELDOM } else { Duration::from_millis(1500) }
    }

    /// Nobody need watch it.
    pub(super) fn unwatched(self) -> bool {
        self < Self::Work
    }
}

/// What the process has in hand, and what the database knows of that.
#[derive(Debug)]
pub(super) struct Rest {
    busy: usize,
    holding: usize,
    /// When it was last busy, or held anything.
    since: Instant,
    said: Pace,
    /// There is something to tell that cannot wait for the next sign of life.
    news: bool,
    /// Others have something in hand, as far as is known here.
    watching: bool,
}

impl Default for Rest {
    fn default() -> Self {
        Self { busy: 0, holding: 0, since: Instant::now(), said: Pace::Work, news: false, watching: true }
    }
}

impl Rest {
    fn wanted(&self) -> Pace {
        match (self.busy, self.holding) {
            (0, 0) => Pace::Rest,
            (0, _) => Pace::Hold,
            _ => Pace::Work,
        }
    }

    /// Whether leases are held, or about to be.
    pub(super) fn holds(&self) -> bool {
        self.holding > 0
    }

    /// Whether the database has yet to learn of what is in hand.
    pub(super) fn changes(&self) -> bool {
        self.news || self.wanted() > self.said
    }

    /// Something is to be told soon.
    pub(super) fn news(&mut self) {
        self.news = true;
    }

    /// What the next sign of life says. What is less than before counts as said from now on, what is more once it was answered.
    pub(super) fn decide(&mut self) -> Pace {
        let calm = self.said < Pace::Work || self.since.elapsed() >= CALM;
        let rests = self.said == Pace::Rest || self.since.elapsed() >= CALM;
        let pace = match self.wanted() {
            Pace::Rest if rests => Pace::Rest,
            Pace::Rest | Pace::Hold if calm => Pace::Hold,
            _ => Pace::Work,
        };
        self.said = self.said.min(pace);
        self.news = false;
        pace
    }

    pub(super) fn answered(&mut self, pace: Pace) {
        self.said = pace;
    }

    /// There is no database to learn anything any more: whoever waits for that finds the link gone.
    pub(super) fn ended(&mut self) {
        self.said = Pace::Work;
        self.news = false;
    }

    /// What a new session says.
    pub(super) fn begin(&mut self, pooled: bool) -> Pace {
        self.said = if pooled { Pace::Work } else { self.wanted() };
        self.said
    }
}

/// While it lives, the process's death is noticed soon.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Listener>, Pace);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.rest.send_modify(|r| {
            let count = if self.1 == Pace::Work { &mut r.busy } else { &mut r.holding };
            *count -= 1;
            r.since = Instant::now();
        });
    }
}

impl Listener {
    /// Has something in hand, from now on; whoever is about to take it waits for [`Listener::awake`] first.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.rest.send_modify(|r| r.busy += 1);
        Busy(self.clone(), Pace::Work)
    }

    /// The same for leases, whose waiters watch by themselves.
    pub(crate) fn holding(self: &Arc<Self>) -> Busy {
        self.rest.send_modify(|r| r.holding += 1);
        Busy(self.clone(), Pace::Hold)
    }

    /// Waits until the database knows what this process has in hand; at once when it does. Cancel-safe.
    pub(crate) async fn awake(&self) {
        let _ = self.rest.subscribe().wait_for(|r| !r.changes()).await;
    }

    /// Whether this process watches others, since they have something in hand: what they hold may come free without a ring.
    pub(crate) fn watches(&self) -> bool {
        self.rest.borrow().watching
    }

    /// Waits until it does. Cancel-safe.
    pub(crate) async fn watching(&self) {
        let _ = self.rest.subscribe().wait_for(|r| r.watching).await;
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
            listener.rest.send_if_modified(|r| std::mem::replace(&mut r.watching, watch) != watch);
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
