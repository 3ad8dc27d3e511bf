//! The one connection of a process: it listens, sleeps on doors, and carries the engine's short statements.
//!
//! Here is what others see of it: the link, and a bell for each door. `keeper.rs` keeps it alive.
//! Does not guarantee that a wake-up arrives: whoever waits also looks by himself, once a second.

mod doze;
mod keeper;
mod link;
mod moment;
mod presence;
mod rest;
mod works;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{broadcast, watch},
    time::timeout,
};
use tokio_postgres::{Client, types::Type};

pub(crate) use self::doze::Asleep;
use self::keeper::Keeper;
#[cfg(test)]
pub(crate) use self::moment::suspend;
use self::rest::{Pace, Rest};
pub(crate) use self::{
    link::{Args, Link},
    moment::Moment,
    presence::{LEASE, MARGIN, Presence},
    rest::{Busy, reap},
    works::Works,
};
use crate::{
    Error, ErrorKind, Result,
    connect::{Purpose, Session},
    conninfo::ConnInfo,
};

const ASIDE: &str = "select set_config('application_name', left(current_setting('application_name'), 50) || ' ' || $1, false)";
const ANSWER: Duration = Duration::from_secs(5);
/// Who waits for a bell looks at least this often; how often that found something is counted.
pub(crate) const POLL: Duration = Duration::from_secs(1);

/// A notification that is not trunkline's: passed through to the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The channel it was sent to.
    pub channel: String,
    /// What was sent.
    pub payload: String,
    /// The sending backend's process id.
    pub pid: i32,
}

/// One waiter's ear at a door. A ring while nobody waits is kept for the next wait.
#[derive(Debug)]
pub(crate) struct Bell(watch::Receiver<()>);

impl Bell {
    /// Waits for the next ring, or takes one that came since the last. Cancel-safe.
    pub(crate) async fn rung(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Takes a ring that came since the last one, if there is any.
    pub(crate) fn has_rung(&mut self) -> bool {
        let rung = self.0.has_changed().unwrap_or(false);
        self.0.mark_unchanged();
        rung
    }
}

/// Where pumps wait: the link, and a bell for each door.
#[derive(Debug)]
pub(crate) struct Listener {
    info: ConnInfo,
    link: watch::Receiver<Option<Arc<Link>>>,
    doors: Mutex<HashMap<i32, watch::Sender<()>>>,
    wanted: watch::Sender<BTreeSet<i32>>,
    /// Other people's channels that somebody here wants to hear, and how many do.
    channels: watch::Sender<BTreeMap<String, usize>>,
    /// Which of them are listened to by now, on the connection of which generation.
    listening: watch::Sender<(u64, BTreeSet<String>)>,
    foreign: broadcast::Sender<Notification>,
    closing: watch::Sender<bool>,
    failure: watch::Sender<Option<String>>,
    rest: watch::Sender<Rest>,
    workers: Mutex<Vec<Weak<Works>>>,
    presence: watch::Sender<Presence>,
}

impl Listener {
    /// Connects once, so that wrong settings are told at once, and keeps the connection from then on.
    pub(crate) async fn start(info: ConnInfo, application: String) -> Result<Arc<Self>> {
        let (link_tx, link) = watch::channel(None);
        let listener = Arc::new(Self {
            info: info.clone(),
            link,
            doors: Mutex::default(),
            wanted: watch::Sender::new(BTreeSet::new()),
            channels: watch::Sender::new(BTreeMap::new()),
            listening: watch::Sender::new((0, BTreeSet::new())),
            foreign: broadcast::Sender::new(1024),
            closing: watch::Sender::new(false),
            failure: watch::Sender::new(None),
            rest: watch::Sender::default(),
            workers: Mutex::default(),
            presence: watch::Sender::new(Presence::new()),
        });
        let mut keeper = Keeper {
            info,
            application,
            listener: listener.clone(),
            link: link_tx,
            session: None,
            generation: 0,
        };
        let first = keeper.connect().await?;
        tokio::spawn(async move { keeper.run(first).await });
        tokio::spawn(rest::watch(listener.clone()));
        let _ = timeout(ANSWER, listener.link()).await;
        Ok(listener)
    }

    /// The live link; waits for one while the connection is down, so that nothing goes into one that is known to be broken.
    pub(crate) async fn link(&self) -> Result<Arc<Link>> {
        let mut rx = self.link.clone();
        let alive = |l: &Option<Arc<Link>>| l.as_ref().is_some_and(|l| !l.client.is_closed());
        let found = rx.wait_for(alive).await.map_err(|_| closed())?;
        found.clone().ok_or_else(closed)
    }

    /// Waits until a link that failed is no longer the one in use.
    pub(crate) async fn next_after(&self, failed: &Link) -> Result<()> {
        let mut rx = self.link.clone();
        let other = |l: &Option<Arc<Link>>| l.as_ref().is_none_or(|l| l.generation != failed.generation);
        rx.wait_for(other).await.map(drop).map_err(|_| closed())
    }

    /// The link if there is one now.
    pub(crate) fn current(&self) -> Option<Arc<Link>> {
        self.link.borrow().clone()
    }

    /// A connection besides, for a statement that lasts; it ends when the client is dropped. Its name says what it is for.
    pub(crate) async fn aside(&self, what: &str) -> Result<Client> {
        let Session { client, mut driver, .. } = self.info.connect(Purpose::Listen).await?;
        tokio::spawn(async move { while let Some(Ok(_)) = driver.message().await {} });
        client.batch_execute(keeper::PLANS).await?;
        client.query_typed(ASIDE, &[(&what, Type::TEXT)]).await?;
        Ok(client)
    }

    /// The bell of a door; from now on it is listened to. Doors that nobody here has a bell of any more, as those of sessions that
    /// are gone, are left.
    pub(crate) fn door(&self, door: i32) -> Bell {
        let mut doors = lock(&self.doors);
        let bell = Bell(doors.entry(door).or_default().subscribe());
        doors.retain(|_, bells| bells.receiver_count() > 0);
        self.wanted.send_if_modified(|wanted| {
            let before = wanted.len();
            wanted.retain(|d| doors.contains_key(d));
            wanted.insert(door) || wanted.len() < before
        });
        bell
    }

    /// The bell of a door that is slept on only while there is nothing to do: see [`Listener::doze`].
    pub(crate) fn bell(&self, door: i32) -> Bell {
        Bell(lock(&self.doors).entry(door).or_default().subscribe())
    }

    /// Rings a door of this process: its own statements do not notify itself.
    pub(crate) fn ring(&self, door: i32) {
        if let Some(bell) = lock(&self.doors).get(&door) {
            bell.send_replace(());
        }
    }

    /// Rings every door of this process.
    pub(crate) fn ring_all(&self) {
        for bell in lock(&self.doors).values() {
            bell.send_replace(());
        }
    }

    /// One bell for many doors, of which nobody else here has one.
    pub(crate) fn bell_of(&self, doors: impl IntoIterator<Item = i32>) -> Bell {
        let sender = watch::Sender::new(());
        let bell = Bell(sender.subscribe());
        lock(&self.doors).extend(doors.into_iter().map(|door| (door, sender.clone())));
        bell
    }

    /// What this process knows of its session's presence.
    pub(crate) fn presence(&self) -> watch::Receiver<Presence> {
        self.presence.subscribe()
    }

    /// Other people's notifications, on a channel of theirs and on all others that are listened to, through this same connection.
    pub(crate) fn listen(&self, channel: &str) -> broadcast::Receiver<Notification> {
        self.channels.send_modify(|c| *c.entry(channel.to_owned()).or_default() += 1);
        self.foreign.subscribe()
    }

    /// Undoes one [`Listener::listen`]: UNLISTEN, when it was the last.
    pub(crate) fn unlisten(&self, channel: &str) {
        self.channels.send_modify(|c| match c.get_mut(channel) {
            Some(many) if *many > 1 => *many -= 1,
            _ => drop(c.remove(channel)),
        });
    }

    /// All of other people's notifications that this connection hears.
    pub(crate) fn foreign(&self) -> broadcast::Receiver<Notification> {
        self.foreign.subscribe()
    }

    /// Which channels are listened to, on the connection of which generation.
    pub(crate) fn listening(&self) -> watch::Receiver<(u64, BTreeSet<String>)> {
        self.listening.subscribe()
    }

    /// Leaves: closes the session and the connection.
    pub(crate) async fn close(&self) {
        self.closing.send_replace(true);
        let mut rx = self.link.clone();
        let _ = timeout(ANSWER, rx.wait_for(Option::is_none)).await;
    }

    /// Begins to leave, without waiting for it.
    pub(crate) fn hang_up(&self) {
        self.closing.send_replace(true);
    }

    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Unreachable, "trunkline was closed")
}

/// Completes when the flag is true, or its owner is gone.
pub(crate) async fn turned(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|f| *f).await;
}

/// Poisoned or not: our critical sections hold plain inserts and removals only.
pub(crate) fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}
