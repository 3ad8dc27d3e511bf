//! A few sessions, opened when needed and shared by calls that each need one for a moment.
//!
//! ```text
//!  (none) --open--> LENT --work ended--> IDLE --lent again, checked--> LENT
//!                    |                     '--idle too long--> closed
//!                    '--work dropped--> CANCELLING --statement ended--> closed
//! ```
//!
//! Guarantees: never more sessions than `max_size`, those being cancelled included; a session whose work was dropped
//! midway is never lent again: its statement is cancelled until it ends, its transaction rolled back, then it is
//! closed; `Ok` from [`Pool::transaction`] means that the server committed. Does not guarantee an order among waiters
//! that time out, nor that a cancelled commit did not happen.
//!
//! What if it dies here: when the process dies the server ends its sessions by itself; when the runtime is shut down
//! before a cancellation was sent, the statement runs until it ends or meets the server's own timeouts.

use super::{Canceller, Purpose, Server, Session};
use crate::{Error, ErrorKind, Result, conninfo::ConnInfo};
use futures_util::{TryStreamExt as _, future::join};
use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};
use tokio_postgres::{Client, SimpleQueryMessage, Transaction};

/// True in a clean session; false or an error inside of a transaction that someone left open.
const CLEAN: &str = "select pg_catalog.transaction_timestamp() = pg_catalog.statement_timestamp()";

/// Idle longer than this, a session is checked before it is lent.
const FRESH: Duration = Duration::from_secs(1);

/// How long a cancelled statement may take to end, and a check to be answered.
const SETTLE: Duration = Duration::from_secs(5);

/// How many sessions, and for how long.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// The most sessions at any time; 2.
    pub max_size: usize,
    /// An unused session is closed after this time, or half as much again; 60 s.
    pub idle_timeout: Duration,
    /// How long a call waits for a session to become free; 10 s.
    pub wait_timeout: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self { max_size: 2, idle_timeout: Duration::from_secs(60), wait_timeout: Duration::from_secs(10) }
    }
}

/// A small pool of sessions to one database. Clones share the sessions.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    info: ConnInfo,
    options: PoolOptions,
    slots: Arc<Semaphore>,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    idle: Vec<Idle>,
    reaping: bool,
}

struct Idle {
    live: Live,
    since: Instant,
    /// The work had the bare client and may have left anything.
    doubtful: bool,
}

struct Live {
    client: Client,
    canceller: Canceller,
    server: Server,
    driver: AbortHandle,
}

impl Pool {
    /// A pool without sessions; they are opened by the first calls.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if `max_size` is 0 or absurd, or a time is 0.
    pub fn new(info: ConnInfo, options: PoolOptions) -> Result<Self> {
        if !(1..=1000).contains(&options.max_size) {
            return Err(Error::new(ErrorKind::Config, "max_size: must be from 1 to 1000"));
        }
        if options.idle_timeout.is_zero() || options.wait_timeout.is_zero() {
            return Err(Error::new(ErrorKind::Config, "idle_timeout and wait_timeout: must not be 0"));
        }
        let slots = Arc::new(Semaphore::new(options.max_size));
        Ok(Self(Arc::new(Inner { info, options, slots, shelf: Mutex::default() })))
    }

    /// Runs `work` with a session. `work` must not leave a transaction open; one that does loses the session.
    ///
    /// Dropping this future cancels the statement that is running.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] if no session became free, those of [`ConnInfo::connect`], those of `work`.
    pub async fn with<T>(&self, work: impl AsyncFnOnce(&Client) -> Result<T>) -> Result<T> {
        let lent = Box::pin(self.lend()).await?;
        let result = work(&lent.live()?.client).await;
        lent.put_back(true);
        result
    }

    /// Runs `work` in a transaction at the server's default isolation level; commits if it returns `Ok`.
    ///
    /// Dropping this future cancels the statement that is running and rolls back, unless the commit was already sent:
    /// then it may or may not have happened.
    ///
    /// # Errors
    /// As [`Pool::with`]. A transaction that `work` broke and returned `Ok` from is an error too: nothing was written.
    pub async fn transaction<T>(&self, work: impl AsyncFnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut lent = Box::pin(self.lend()).await?;
        let tx = lent.live_mut()?.client.transaction().await?;
        let result = match work(&tx).await {
            Ok(value) => commit(tx).await.map(|()| value),
            Err(e) => {
                if let Err(broken) = tx.rollback().await {
                    tracing::debug!(error = %broken, "rollback failed; the session is checked before its next use");
                }
                Err(e)
            }
        };
        lent.put_back(result.is_err());
        result
    }

    /// The server behind a session of this pool, opening one if need be.
    ///
    /// # Errors
    /// As [`Pool::with`].
    pub async fn server(&self) -> Result<Server> {
        let lent = Box::pin(self.lend()).await?;
        let server = lent.live()?.server.clone();
        lent.put_back(false);
        Ok(server)
    }

    /// The settings that sessions are opened with.
    #[must_use]
    pub fn info(&self) -> &ConnInfo {
        &self.0.info
    }

    async fn lend(&self) -> Result<Lent> {
        let inner = &self.0;
        let free = timeout(inner.options.wait_timeout, Arc::clone(&inner.slots).acquire_owned()).await;
        let Ok(Ok(permit)) = free else {
            let message = format!("all {} database sessions of the pool are in use", inner.options.max_size);
            return Err(Error::new(ErrorKind::TimedOut, message));
        };
        let mut lent = Lent { live: None, permit: Some(permit), pool: Arc::clone(inner) };
        loop {
            let next = inner.shelf().idle.pop();
            let Some(Idle { live, since, doubtful }) = next else { break };
            let trusted = !doubtful && since.elapsed() < FRESH;
            let closed = live.client.is_closed();
            lent.live = Some(live);
            if !closed && (trusted || is_clean(&lent.live()?.client).await) {
                return Ok(lent);
            }
            lent.discard();
        }
        lent.live = Some(Live::start(inner.info.connect(Purpose::Work).await?));
        Ok(lent)
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let free = self.0.slots.available_permits();
        f.debug_struct("Pool").field("options", &self.0.options).field("free", &free).finish_non_exhaustive()
    }
}

/// COMMIT in a broken transaction is answered without an error; the statement sent just before it is not.
async fn commit(tx: Transaction<'_>) -> Result<()> {
    let probe = tx.client().simple_query_raw("select 1").await?;
    let (probe, committed) = join(probe.try_collect::<Vec<_>>(), tx.commit()).await;
    probe?;
    committed?;
    Ok(())
}

async fn is_clean(client: &Client) -> bool {
    let Ok(Ok(answer)) = timeout(SETTLE, client.simple_query(CLEAN)).await else { return false };
    answer.iter().any(|m| matches!(m, SimpleQueryMessage::Row(row) if row.get(0) == Some("t")))
}

impl Live {
    fn start(session: Session) -> Self {
        let Session { client, driver, canceller, server, .. } = session;
        let task = tokio::spawn(async move {
            if let Err(e) = driver.await {
                tracing::debug!(error = %e, "a pooled session ended");
            }
        });
        Self { client, canceller, server, driver: task.abort_handle() }
    }

    /// Cancels until everything that was sent has been answered, then closes. A cancel request can overtake its
    /// statement, so one is not enough.
    async fn settle(self) {
        let Self { client, canceller, driver, .. } = self;
        let settled = timeout(SETTLE, async {
            let mut pause = Duration::from_millis(5);
            let mut rollback = pin!(client.batch_execute("rollback"));
            loop {
                // Rollback is sent by the first poll and answered after all that came before it.
                if timeout(pause, &mut rollback).await.is_ok() {
                    return;
                }
                if let Err(e) = canceller.cancel().await {
                    tracing::warn!(error = %e, "a statement could not be cancelled");
                }
                pause = (pause * 2).min(Duration::from_millis(500));
            }
        });
        if settled.await.is_err() {
            driver.abort();
        }
    }
}

/// A session that someone uses. Dropped without [`Lent::put_back`], its work was cut off.
struct Lent {
    live: Option<Live>,
    permit: Option<OwnedSemaphorePermit>,
    pool: Arc<Inner>,
}

impl Lent {
    fn live(&self) -> Result<&Live> {
        self.live.as_ref().ok_or_else(|| Error::new(ErrorKind::Other, "the session was given back"))
    }

    fn live_mut(&mut self) -> Result<&mut Live> {
        self.live.as_mut().ok_or_else(|| Error::new(ErrorKind::Other, "the session was given back"))
    }

    fn put_back(mut self, doubtful: bool) {
        if let Some(live) = self.live.take().filter(|l| !l.client.is_closed()) {
            self.pool.shelve(Idle { live, since: Instant::now(), doubtful });
        }
    }

    /// Closes without ceremony; pending statements are not waited for.
    fn discard(&mut self) {
        if let Some(live) = self.live.take() {
            live.driver.abort();
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (Some(live), permit) = (self.live.take(), self.permit.take()) else { return };
        match tokio::runtime::Handle::try_current() {
            // The slot stays taken until the session is gone: max_size is a promise to the server.
            Ok(runtime) => drop(runtime.spawn(async move {
                live.settle().await;
                drop(permit);
            })),
            Err(_) => live.driver.abort(),
        }
    }
}

impl Inner {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shelve(self: &Arc<Self>, idle: Idle) {
        let mut shelf = self.shelf();
        shelf.idle.push(idle);
        if !shelf.reaping {
            shelf.reaping = true;
            tokio::spawn(reap(Arc::downgrade(self), self.options.idle_timeout));
        }
    }
}

/// Closes what has been idle for too long; ends when nothing is idle or the pool is gone.
async fn reap(pool: Weak<Inner>, limit: Duration) {
    loop {
        sleep(limit / 2).await;
        let Some(inner) = pool.upgrade() else { return };
        let mut shelf = inner.shelf();
        shelf.idle.retain(|i| i.since.elapsed() < limit);
        if shelf.idle.is_empty() {
            shelf.reaping = false;
            return;
        }
    }
}
