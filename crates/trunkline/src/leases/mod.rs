//! Leases: of many processes that could, exactly one acts; when it is gone the next one does, with a higher fence.
//!
//! [`Leases::acquire`] waits in turn for a lease, [`Lease::guard`] makes a transaction fail whose holder is stale,
//! [`Lease::lost`] tells when to stop. Guarantees, and what is not promised: `docs/leases.md`.
//!
//! ```text
//!                in turn, free: fence + 1                  renewed by itself, every third of its ttl
//!  [waiting] ───────────────────────────▶ [held, fence n] ───────────────────────────────┐
//!      │                                    │        ▲───────────────────────────────────┘
//!      ▼ gave up                            │ resigned, dropped, closed ──▶ free at once, the first in the queue is rung
//!   nothing                                 │ its connection ended: told at once ──▶ free a quarter of a second after somebody saw it
//!                                           └ not renewed: trust is over ── a margin ──▶ it expires
//! ```
//! **Trust.** A lease is valid here until the earliest of: the moment its newest answered renewal was asked for plus its ttl; the
//! same for the session's presence and five seconds; less a margin; and the end of the connection. All by this process's monotonic
//! clock, which goes on while the machine is suspended (`listener/moment.rs`), without asking anybody, so it ends in time whatever else
//! stands still (`trust.rs`, `listener/presence.rs`). What was lost stays lost.
//!
//! **Finding out.** For the first and the second in a queue (the second in case the first is frozen) a statement waits in the server
//! and looks there five times a second whether the holder's connection is there (its presence key) and its time has not passed
//! (`vigil.rs`). Where there is none, behind a pooler or for a moment after a fault, the first looks 2.5 times a second by itself, the
//! second every two seconds. The others look four times a minute. Who is rung, looks. A release rings the first, and a hand-over
//! rings the one who is first now: two rings, however many wait.
//!
//! **At rest.** Who waits is at rest (`listener/rest.rs`): it is heard of each half a minute only, too seldom to hold anything, and the
//! database gives nothing to one at rest. A look that finds something to take says so; the process says that it holds something
//! (heard of each 1.5 s from then on), and looks again, which takes it.
//!
//! What if it dies here:
//!
//! | who, where | what happens |
//! |---|---|
//! | holder, killed | its presence key is free; the first in the queue sees it, and has the lease a quarter of a second later |
//! | holder, frozen, suspended or cut off | the server ends its session after five seconds; by its own clock its trust is over before that |
//! | holder, between the release's commit and its answer | it is released; released again, by the holder's number, it changes nothing |
//! | first in the queue, before or after it was rung, or between saying that it holds something and taking it | the second has its turn once the lease is free for a second |
//! | the vigil's connection | who waits looks by itself until there is another, in three seconds |
//! | who takes it, between the commit and the answer | its next look gets the same answer, and the whole time from then on; if it is dead, as a holder that was killed |
//! | a guard's transaction that stays open | the hand-over waits for its end, by looking again; nobody's connection waits |
//! | the server | sessions and queues are gone, leases are not: who waits notes itself anew, holders stop, the fence goes on from where it was |

mod acquire;
mod engine;
mod lease;
mod trust;
mod vigil;
mod watch;
mod wire;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio_postgres::types::Type;

pub use self::{
    acquire::Acquire,
    lease::{Lease, Loss},
    watch::{Standing, Watch},
};
pub(crate) use self::{engine::Engine, lease::guard};
use crate::{Result, listener::Args};

const LIST: &str = "select name, fence, held_by, since, expires_at, seen_at, resign_asked, progress, waiting from trunkline.lease_list() where name = coalesce($1, name)";
const WAITERS: &str = "select held_by, since from trunkline.lease_waiters($1)";
const RESIGN: &str = "select trunkline.lease_resign($1, $2)";

/// The handle for leases; clones share one connection, and a second one while this process waits in front of a queue.
#[derive(Debug, Clone)]
pub struct Leases {
    engine: Arc<Engine>,
}

/// A lease as anybody sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The fence of its newest holder; 0 when it never had one.
    pub fence: i64,
    /// Who holds it; none when nobody does.
    pub held_by: Option<String>,
    /// Since when.
    pub since: Option<SystemTime>,
    /// Until when, were it not renewed.
    pub expires_at: Option<SystemTime>,
    /// When the newest holder gave its last sign of life, its release included.
    pub seen_at: Option<SystemTime>,
    /// The holder was asked to resign, and has not yet.
    pub resign_asked: bool,
    /// What a holder noted of its progress last.
    pub progress: Option<String>,
    /// How many wait for it.
    pub waiting: i32,
}

/// One who waits for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiter {
    /// Who.
    pub held_by: String,
    /// Since when.
    pub since: SystemTime,
}

impl Leases {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Acquires a lease: await what comes back, and it waits in turn, for as long as nothing else is said ([`Acquire::within`]).
    ///
    /// Dropping the future gives up, the turn too; what was handed over meanwhile is released.
    pub fn acquire(&self, name: impl Into<String>) -> Acquire {
        Acquire::new(self.engine.clone(), name.into())
    }

    /// Acquires a lease if it is free and nobody waits for it; none if not. As `acquire(name).now()`.
    ///
    /// # Errors
    /// As [`Acquire::now`].
    pub async fn try_acquire(&self, name: impl Into<String>) -> Result<Option<Lease>> {
        self.acquire(name).now().await
    }

    /// Watches who holds a lease: how it stands, and each change from then on.
    #[must_use]
    pub fn watch(&self, name: impl Into<String>) -> Watch {
        Watch::new(self.engine.clone(), name.into())
    }

    /// All leases, by name.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn list(&self) -> Result<Vec<Listed>> {
        self.listed(None).await
    }

    /// A lease; none for a name that was never asked for.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn show(&self, name: &str) -> Result<Option<Listed>> {
        Ok(self.listed(Some(name)).await?.pop())
    }

    async fn listed(&self, name: Option<&str>) -> Result<Vec<Listed>> {
        let link = self.engine.listener().link().await?;
        let args: &Args<'_> = &[(&name, Type::TEXT)];
        link.query(LIST, args)
            .await?
            .iter()
            .map(|row| {
                Ok(Listed {
                    name: row.try_get(0)?,
                    fence: row.try_get(1)?,
                    held_by: row.try_get(2)?,
                    since: row.try_get(3)?,
                    expires_at: row.try_get(4)?,
                    seen_at: row.try_get(5)?,
                    resign_asked: row.try_get(6)?,
                    progress: row.try_get(7)?,
                    waiting: row.try_get(8)?,
                })
            })
            .collect()
    }

    /// Who waits for a lease, in turn.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn waiters(&self, name: &str) -> Result<Vec<Waiter>> {
        let link = self.engine.listener().link().await?;
        let rows = link.query(WAITERS, &[(&name, Type::TEXT)]).await?;
        rows.iter().map(|row| Ok(Waiter { held_by: row.try_get(0)?, since: row.try_get(1)? })).collect()
    }

    /// Asks whoever holds a lease to resign ([`Loss::Asked`]): true when somebody holds it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for a name that was never held, [`ErrorKind::Denied`](crate::ErrorKind::Denied)
    /// for a role that is no admin.
    pub async fn resign(&self, name: &str) -> Result<bool> {
        self.engine.resign(RESIGN, name, false).await
    }

    /// Takes a lease away from whoever holds it: true when somebody did. Its guarded transactions fail from now on, those that are
    /// open are waited for; and another may begin before it has stopped what is not guarded.
    ///
    /// # Errors
    /// As [`Leases::resign`].
    pub async fn revoke(&self, name: &str) -> Result<bool> {
        self.engine.resign(RESIGN, name, true).await
    }
}

/// So long a lease is good for without being renewed, unless told.
const TTL: Duration = Duration::from_secs(15);
