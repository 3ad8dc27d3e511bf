//! Of all subscriptions of a group one is active, by a lease; the others stand by.
//!
//! ```text
//!             lease free, or its holder gone          asked, closed, or the connection lost
//!   [standby] ──────────────────────────▶ [active] ──────────────────────────────────────▶ [standby]
//!       what the one before had handled: from there on        nothing is yielded any more, before another may begin
//! ```
//! Guarantee: what is published once there is a group is yielded by an active one, at least once: the active one notes with its lease up
//! to where it has handled everything, and the next one reads on from there in the ring. After a resignation that is exact; after a
//! death what was handled since the last renewal is yielded again. A message is yielded only while the lease is valid by this process's
//! clock, and carries the fence, by which a transaction can be guarded. What the ring no longer has is a gap. Channels keep nothing, so
//! who stands by listens and keeps what came in the last minute: the active one notes behind what it has handled all, and the next one
//! begins there, however many had the lease since and noted nothing. How such a place is the same for both: `kept.rs`.
//!
//! What if it dies here:
//!
//! | who dies, where | what happens |
//! |---|---|
//! | the active one | its lease goes to the next in turn, who reads on from what was noted |
//! | the active one, before it noted anything | the next one begins where it subscribed itself |
//! | the active one, frozen and back again | its lease is over by its own clock: what it has in its buffer is not yielded |
//! | a standby | nothing |
//! | the server | the same, and what the ring had is a gap; the fence goes on |

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::debug;

use super::{
    Engine, Kind, durable,
    filter::Pattern,
    look::{Position, Said, stands, subscribe},
    message::{Event, Turn},
    queue::Queue,
    reader::{self, Member},
};
use crate::{
    Result,
    leases::{Lease, Leases, Loss},
    listener::Link,
};

/// So long the one who is active may keep silent; it notes its position three times as often.
const TTL: Duration = Duration::from_secs(5);
/// For what is handled just now, when it is asked to resign.
const GRACE: Duration = Duration::from_secs(5);

/// A subscription that is active by turns.
#[derive(Debug)]
pub(super) struct Single {
    pub(super) engine: Arc<Engine>,
    pub(super) said: Said,
    pub(super) kind: Kind,
    pub(super) patterns: Vec<Pattern>,
    pub(super) filtered: bool,
    pub(super) queue: Arc<Queue>,
    /// Where it begins, when nobody has noted anything.
    pub(super) begin: Position,
}

const PREFIX: &str = "trunkline/topics/";

/// The lease of a group: of this name, or of these topics.
pub(super) fn lease_of(name: Option<&str>, topics: &[String]) -> String {
    let group = name.map_or_else(|| topics.join(","), ToOwned::to_owned);
    let lease = format!("{PREFIX}{group}");
    if lease.len() <= 200 {
        return lease;
    }
    let hash = hash(group.bytes());
    let most = (0..=150).rev().find(|n| group.is_char_boundary(*n)).unwrap_or(0);
    format!("{PREFIX}{}…{hash:016x}", &group[..most])
}

/// The same in every process: FNV-1a.
pub(super) fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

impl Single {
    pub(super) async fn run(self) {
        if self.kind != Kind::Channel {
            self.queue.tell(Event::Connected); // of channels who hands them out says it
        }
        let mut reason = None;
        while !self.queue.is_closed() {
            match self.turn(&mut reason).await {
                Ok(()) => {}
                Err(e) if *self.engine.listener.closing().borrow() => return self.queue.close(Some(e)),
                Err(e) => {
                    debug!(error = %e, "a turn did not begin");
                    self.queue.tell(Event::Error(e));
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Waits for the lease, and is the active one until that is over.
    async fn turn(&self, reason: &mut Option<Loss>) -> Result<()> {
        let name = self.said.name.as_deref().unwrap_or_default();
        let leases = Leases::new(self.engine.leases.clone());
        if self.kind == Kind::Channel {
            self.queue.placed().await?; // before it may take over
        }
        let now = match reason {
            None => leases.acquire(name).ttl(TTL).now().await?,
            Some(_) => None,
        };
        let lease = match now {
            Some(lease) => lease,
            None => {
                self.queue.tell(Event::Standby { reason: reason.take() });
                self.stand(None).await;
                tokio::select! {
                    lease = leases.acquire(name).ttl(TTL) => lease?,
                    () = self.stay_listed() => return Ok(()),
                }
            }
        };
        let fence = lease.fence();
        let lease = Arc::new(lease);
        let turn = Turn { lease: name.into(), fence };
        self.queue.tell(Event::Active { fence, silent: lease.predecessor_silent() });
        self.queue.activate(lease.clone());
        let tasks = Tasks(self.begin(&lease, &turn));
        self.stand(Some(fence)).await;
        let lost = lease.lost().await;
        drop(tasks);
        if self.kind == Kind::Volatile {
            let _ = self.engine.reader().send(reader::Command::Leave(self.said.number, None));
        }
        self.queue.deactivate();
        if lost == Loss::Asked {
            let _ = timeout(GRACE, self.queue.handled()).await;
        }
        self.queue.let_go();
        *reason = Some(lost);
        Ok(())
    }

    /// Begins to read: from where the one before had come.
    fn begin(&self, lease: &Lease, turn: &Turn) -> Vec<JoinHandle<()>> {
        let (listener, queue) = (&self.engine.listener, &self.queue);
        if self.kind == Kind::Channel {
            return Vec::new(); // it listens already
        }
        if self.kind == Kind::Durable {
            let name = self.said.name.as_deref().unwrap_or_default();
            let consumer = name.strip_prefix(PREFIX).unwrap_or(name);
            return vec![durable::start(listener, &self.said, consumer, queue, Some(turn), self.filtered)];
        }
        let noted = lease.predecessor_progress().and_then(Position::of_text);
        let position = noted.unwrap_or_else(|| self.begin.clone());
        lease.note(position.text()); // should nothing come before this one dies
        let member = Member {
            said: self.said.clone(),
            patterns: self.patterns.clone(),
            queue: queue.clone(),
            filtered: self.filtered,
            turn: Some(turn.clone()),
            connected: true,
            generation: listener.current().map_or(0, |l| l.generation),
        };
        let _ = self.engine.reader().send(reader::Command::Join(Box::new((member, position))));
        Vec::new()
    }

    /// Says that it stands by on each new connection too; until there are no more.
    async fn stay_listed(&self) {
        let listener = &self.engine.listener;
        while let Ok(link) = listener.link().await {
            let next = async {
                listener.next_after(&link).await?;
                listener.link().await
            };
            if next.await.is_ok() {
                self.stand(None).await;
            }
        }
    }

    /// Says in the database that it is active, or stands by.
    async fn stand(&self, fence: Option<i64>) {
        let said = async |link: &Link| {
            if !link.resumed {
                subscribe(link, &self.said).await?;
            }
            stands(link, self.said.number, fence).await
        };
        if let Some(link) = self.engine.listener.current()
            && let Err(e) = said(&link).await
        {
            debug!(error = %e, "it is not said who is active");
        }
    }
}

/// Ends them when it is dropped.
struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|task| task.abort());
    }
}

#[cfg(test)]
mod tests {
    use super::lease_of;

    #[test]
    fn a_group_has_a_lease_of_its_own() {
        assert_eq!(lease_of(None, &["a".into(), "b.*".into()]), "trunkline/topics/a,b.*");
        assert_eq!(lease_of(Some("g"), &["a".into()]), "trunkline/topics/g");
        let long = |end: &str| lease_of(None, &["x".repeat(190), end.into()]);
        assert!(long("a") != long("b") && long("a").len() <= 200, "{}", long("a"));
    }
}
