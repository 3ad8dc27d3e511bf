//! The handle: one per process and database, cheap to clone.

use std::sync::Arc;

use tokio::sync::broadcast;
use uuid::Uuid;

use crate::{
    Result,
    connect::{Pool, PoolOptions},
    conninfo::{ConnInfo, Env},
    jobs::{self, Jobs},
    leases::{self, Leases},
    listener::{Listener, Notification},
    requests::{self, Requests},
    streams::{self, Streams},
    topics::{self, Topics},
};

/// A connected process: hand clones of it to every task.
///
/// It uses **one** connection, for everything: listening, sending, taking and answering; bulk loads use up to two more for
/// as long as they last, and a minute. When the last clone is dropped the session ends; [`Trunkline::close`] does it in order.
#[derive(Debug, Clone)]
pub struct Trunkline {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    listener: Arc<Listener>,
    requests: Arc<requests::Engine>,
    streams: Arc<streams::Engine>,
    jobs: Arc<jobs::Engine>,
    topics: Arc<topics::Engine>,
    leases: Arc<leases::Engine>,
}

impl Trunkline {
    /// Connects with a URL or key/value settings as libpq reads them; `PG*` variables fill what they leave out.
    ///
    /// # Errors
    /// [`Config`](crate::ErrorKind::Config) for wrong settings, [`Unreachable`](crate::ErrorKind::Unreachable),
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a standby or an old server, and
    /// [`Schema`](crate::ErrorKind::Schema) when the schema must be installed or upgraded first.
    pub async fn connect(settings: &str) -> Result<Self> {
        Self::with(ConnInfo::from_str_with(settings, &Env::process())?).await
    }

    /// Connects with settings that were read already.
    ///
    /// # Errors
    /// As [`Trunkline::connect`].
    pub async fn with(info: ConnInfo) -> Result<Self> {
        let application = info.application_name().to_owned();
        let pool = Pool::new(info.clone(), PoolOptions::default())?;
        let listener = Listener::start(info, application).await?;
        let requests = requests::Engine::start(listener.clone());
        let streams = streams::Engine::start(listener.clone(), pool.clone());
        let jobs = jobs::Engine::start(listener.clone(), pool);
        let leases = leases::Engine::new(listener.clone());
        let topics = topics::Engine::start(listener.clone(), leases.clone());
        Ok(Self { inner: Arc::new(Inner { listener, requests, streams, jobs, leases, topics }) })
    }

    /// Requests and replies.
    #[must_use]
    pub fn requests(&self) -> Requests {
        Requests::new(self.inner.requests.clone())
    }

    /// Queues of jobs.
    #[must_use]
    pub fn jobs(&self) -> Jobs {
        Jobs::new(self.inner.jobs.clone())
    }

    /// Streams of events.
    #[must_use]
    pub fn streams(&self) -> Streams {
        Streams::new(self.inner.streams.clone())
    }

    /// Topics, to publish and to subscribe.
    #[must_use]
    pub fn topics(&self) -> Topics {
        Topics::new(self.inner.topics.clone())
    }

    /// Leases: of many processes, one that acts.
    #[must_use]
    pub fn leases(&self) -> Leases {
        Leases::new(self.inner.leases.clone())
    }

    /// The address that peers can send to; none while the connection is down. A new one follows when the session was
    /// given up meanwhile (a pause of more than five seconds).
    #[must_use]
    pub fn address(&self) -> Option<Uuid> {
        self.inner.listener.current().map(|l| l.address)
    }

    /// Listens to a channel of your own through the same connection. NOTIFY keeps nothing: what is sent while the
    /// connection is down, or beyond 1,024 unread ones, is lost (the receiver says how many it missed).
    #[must_use]
    pub fn listen(&self, channel: &str) -> broadcast::Receiver<Notification> {
        self.inner.listener.listen(channel)
    }

    /// One round of every duty of the daemon: buries dead sessions, ticks, turns the rings. Harmless at any time.
    ///
    /// From the first round on this handle also fires the schedules of jobs, each at its time, between the rounds too; as any
    /// number of others may. For one round of that alone: [`Jobs::fire_schedules`].
    ///
    /// # Errors
    /// What the database reports; [`Epoch`](crate::ErrorKind::Epoch) after a restore.
    pub async fn maintain(&self) -> Result<()> {
        self.inner.jobs.keep_schedules();
        crate::maintenance::round(&*self.inner.listener.link().await?).await
    }

    /// Leaves: what was cancelled or has timed out is ended in the database first (for a second at most), then the
    /// session and the connection are closed, and with them all that is served. Jobs that run are handed back, and leases
    /// released last.
    pub async fn close(self) {
        tokio::join!(self.inner.requests.finished(), self.inner.jobs.finished());
        self.inner.leases.finished().await;
        self.inner.listener.close().await;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.jobs.leave();
        self.listener.hang_up();
    }
}
