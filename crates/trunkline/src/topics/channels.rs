//! Subscriptions to plain PostgreSQL channels: what others notify, handed to who listens, by the one connection of the process.
//!
//! Guarantee: what is notified while a subscription is connected comes, or is counted in a gap; NOTIFY keeps nothing, so every reconnect is
//! a gap, from when the connection was last known to be in order. Nothing that comes on a channel is trusted, and doors are no channels.
//!
//! What if it dies here: LISTEN ends with the connection; a subscription that is dropped is forgotten at once, UNLISTEN follows.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    time::sleep,
};
use tracing::debug;

use super::{
    kept::{self, Kept, MARKS},
    look::{Said, subscribe},
    message::{Event, Gap, Message, Sent},
    queue::Queue,
};
use crate::{
    Error, ErrorKind, Result,
    listener::{Link, Listener, Notification},
};

const PID: &str = "select pg_backend_pid()";

/// Refuses what is no channel's name, or one of ours.
pub(super) fn check_name(name: &str) -> Result<()> {
    let invalid = |text: String| Err(Error::new(ErrorKind::Invalid, text));
    if name.is_empty() || name.len() > 63 {
        return invalid(format!("the name of a channel topic must be 1 to 63 bytes, got {}", name.len()));
    }
    if name.contains('\0') {
        return invalid("the name of a channel topic must not contain NUL".into());
    }
    if name.starts_with("trunkline_") {
        return invalid(format!("channel name \"{name}\" is reserved"))
            .map_err(|e: Error| e.with_code("TL011"));
    }
    Ok(())
}

/// A subscription to channels.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) said: Said,
    pub(super) queue: Arc<Queue>,
    pub(super) filtered: bool,
}

impl Member {
    async fn mark(&self, link: &Link) -> Result<()> {
        match &self.said.name {
            Some(lease) if self.said.single => kept::say(link, lease).await,
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
pub(super) enum Command {
    Join(Box<Member>),
    Leave(i32),
}

struct Listening {
    member: Member,
    /// The connection on which it was told that it is connected.
    generation: Option<u64>,
    /// Since when what comes may be missed.
    lost_at: Option<SystemTime>,
}

struct Router {
    listener: Arc<Listener>,
    members: HashMap<i32, Listening>,
    channels: HashMap<String, Vec<i32>>,
    /// The live connection, and its backend, when somebody leaves own messages out.
    link: Option<Arc<Link>>,
    own: Option<i32>,
}

/// Starts what hands notifications out.
pub(super) fn start(listener: Arc<Listener>) -> mpsc::UnboundedSender<Command> {
    let (commands, orders) = mpsc::unbounded_channel();
    let router =
        Router { listener, members: HashMap::new(), channels: HashMap::new(), link: None, own: None };
    tokio::spawn(router.run(orders));
    commands
}

impl Router {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Command>) {
        let mut heard = self.listener.foreign();
        let mut listening = self.listener.listening();
        let mut closing = self.listener.closing();
        loop {
            let gone = async {
                match &self.link {
                    Some(link) => drop(self.listener.next_after(link).await),
                    None => std::future::pending().await,
                }
            };
            let mut missed = None;
            tokio::select! {
                biased;
                command = orders.recv() => match command {
                    Some(Command::Join(member)) => self.join(*member),
                    Some(Command::Leave(number)) => self.leave(number),
                    None => return,
                },
                heard = heard.recv() => match heard {
                    Ok(note) => self.give(&note),
                    Err(RecvError::Lagged(many)) => missed = Some(many),
                    Err(RecvError::Closed) => return,
                },
                () = gone => { self.lost(); continue }
                Ok(()) = listening.changed() => {}
                Ok(_) = closing.wait_for(|c| *c) => {
                    return self.members.values().for_each(|m| m.member.queue.close(None));
                }
            }
            if let Some(many) = missed {
                self.lagged(many).await;
            }
            let (generation, channels) = listening.borrow_and_update().clone();
            let link = self.listener.current().filter(|l| l.generation == generation);
            let fresh = self.members.values().any(|m| m.generation != Some(generation));
            if let Some(link) = link.filter(|_| fresh)
                && let Err(e) = self.connected(&link, |name| channels.contains(name)).await
            {
                debug!(error = %e, "not subscribed yet");
                sleep(Duration::from_millis(20)).await;
                listening.mark_changed();
            }
        }
    }

    fn join(&mut self, member: Member) {
        for topic in &member.said.topics {
            self.channels.entry(topic.clone()).or_default().push(member.said.number);
        }
        self.members.insert(member.said.number, Listening { member, generation: None, lost_at: None });
    }

    fn leave(&mut self, number: i32) {
        self.members.remove(&number);
        self.channels.retain(|_, all| {
            all.retain(|n| *n != number);
            !all.is_empty()
        });
    }

    /// Says to those who share a lease where they are: see `kept.rs`. Anybody can say so.
    fn marked(&self, said: &str) {
        let Some((mark, lease)) = kept::parse(said) else { return };
        let of = |l: &&Listening| l.member.said.single && l.member.said.name.as_deref() == Some(lease);
        for listening in self.members.values().filter(of).filter(|l| l.generation.is_some()) {
            listening.member.queue.hear(|kept| kept.mark(mark));
        }
    }

    fn give(&mut self, note: &Notification) {
        if note.channel == MARKS {
            return self.marked(&note.payload);
        }
        let Some(members) = self.channels.get(&note.channel) else { return };
        let sent = Arc::new(Sent {
            topic: note.channel.clone(),
            at: Some(SystemTime::now()),
            payload: note.payload.as_str().into(),
            ..Sent::default()
        });
        for listening in members.iter().filter_map(|n| self.members.get(n)) {
            // What comes before "connected" was published before that.
            if listening.generation.is_none() {
                continue;
            }
            if listening.member.filtered && self.own == Some(note.pid) {
                listening.member.queue.hear(Kept::pass);
            } else {
                listening.member.queue.push_or_drop(Message::new(sent.clone()));
            }
        }
    }

    /// This process was too slow to hand out what came.
    async fn lagged(&self, many: u64) {
        let until = SystemTime::now();
        let since = self.link.as_ref().map_or(until, |l| l.well_at());
        debug!(many, "notifications were missed");
        for listening in self.members.values().filter(|m| m.generation.is_some()) {
            listening.member.queue.hear(Kept::interrupt);
            listening.member.queue.tell(Event::Gap(Gap { since, until, missed: None }));
            if let Some(link) = &self.link
                && let Err(e) = listening.member.mark(link).await
            {
                debug!(error = %e, "no mark was said");
            }
        }
    }

    fn lost(&mut self) {
        let Some(link) = self.link.take() else { return };
        self.own = None;
        for listening in self.members.values_mut() {
            if listening.generation.take().is_none() {
                continue;
            }
            listening.lost_at = Some(link.well_at());
            listening.member.queue.hear(Kept::interrupt);
            listening.member.queue.tell(Event::Lost);
        }
    }

    /// Tells those whose channels are all listened to.
    async fn connected(&mut self, link: &Arc<Link>, heard: impl Fn(&str) -> bool) -> Result<()> {
        for listening in self.members.values_mut() {
            let member = &listening.member;
            if listening.generation == Some(link.generation) || !member.said.channels().all(&heard) {
                continue;
            }
            if member.filtered && self.own.is_none() {
                self.own = Some(link.value(PID, &[]).await?);
            }
            if !(member.said.single && link.resumed) {
                subscribe(link, &member.said).await?;
            }
            member.mark(link).await?;
            if let Some(since) = listening.lost_at.take() {
                member.queue.tell(Event::Gap(Gap { since, until: SystemTime::now(), missed: None }));
            }
            member.queue.tell(Event::Connected);
            listening.generation = Some(link.generation);
        }
        self.link = Some(link.clone());
        Ok(())
    }
}
