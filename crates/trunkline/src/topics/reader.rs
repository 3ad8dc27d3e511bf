//! The reader of a process: one look at the ring for all of its subscriptions to volatile topics.
//!
//! ```text
//!                        a join brings a position         its buffer is full
//!   [joining] ─────────────────────────────▶ [reading] ───────────────────────▶ [behind] (behind.rs, by itself)
//!       ▲                                                                          │ has caught up
//!       └──────────────────────────────────────────────────────────────────────────┘
//! ```
//! Guarantee: each member gets what commits after the position that it brought, once, in the order of its sender, or is told of a gap.
//! A member that joins with an older position than the reader's makes the next window begin there; the others are not given
//! what they have seen. Who is slow leaves, and holds up nobody.
//!
//! What if it dies here: the cursor is a snapshot in memory, so the process begins anew with all of its subscriptions; nobody else
//! depends on it. While the connection is down the cursor stays, and the next look goes on from it: a gap is told only when what was
//! published meanwhile is no longer there.
//!
//! Awake while messages come one upon the other, so that publishers need not ring; asleep on the doors of its topics else.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_postgres::types::Type;
use tracing::{debug, warn};
use uuid::Uuid;

use super::{
    behind,
    filter::{Pattern, Wanted},
    look::{PAGE, Placed, Position, Said, Window, subscribe},
    message::{Event, Gap, Message, Turn},
    queue::Queue,
};
use crate::{
    ErrorKind, Result,
    listener::{Asleep, Bell, Link, Listener, POLL},
    streams::Pace,
};

const DOORS: &str = "select trunkline._topic_doors($1)";
/// The doors of topics: 64, and one for who listens to many of them.
const FIRST: i32 = i32::MIN;
pub(super) const ANY: i32 = FIRST + 64;
/// Who listens to more topics than this, or to wildcards, sleeps on the door for any.
const FEW: usize = 16;
/// How often who sleeps soundly looks all the same; well within the minute for which a message is kept.
const LONG_POLL: Duration = Duration::from_secs(20);

/// A subscription, as the reader knows it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) said: Said,
    pub(super) patterns: Vec<Pattern>,
    pub(super) queue: Arc<Queue>,
    /// Own messages are left out.
    pub(super) filtered: bool,
    /// Of a single one, which is here while it is the active one.
    pub(super) turn: Option<Turn>,
    /// Whether it was told that it is connected.
    pub(super) connected: bool,
    /// The connection on which the database was told.
    pub(super) generation: u64,
}

#[derive(Debug)]
pub(super) enum Command {
    /// From this position on.
    Join(Box<(Member, Position)>),
    /// What was given out until then is marked; whoever waits for that is told by the sender's end.
    Leave(i32, Option<oneshot::Sender<()>>),
}

/// A member, and how far it is ahead of the reader.
#[derive(Debug)]
struct Reading {
    member: Member,
    ahead: Option<Position>,
    /// For which its buffer had no room, in the page that is given out.
    rest: Vec<Placed>,
}

impl Reading {
    /// Tells it that the connection is gone, once.
    fn lost(&mut self) {
        if std::mem::take(&mut self.member.connected) {
            self.member.queue.tell(Event::Lost);
        }
    }
}

/// Starts the reader.
pub(super) fn start(listener: Arc<Listener>) -> mpsc::UnboundedSender<Command> {
    let (commands, orders) = mpsc::unbounded_channel();
    let bell = listener.bell_of(FIRST..=ANY);
    let reader = Reader {
        listener,
        orders,
        commands: commands.downgrade(),
        bell,
        members: HashMap::new(),
        exact: HashMap::new(),
        wild: Vec::new(),
        wanted: None,
        slept_for: None,
        cursor: None,
        window: None,
        doors: Vec::new(),
        asleep: None,
        pace: Pace::new(i32::try_from(PAGE).unwrap_or(i32::MAX)),
        own: Vec::new(),
    };
    tokio::spawn(reader.run());
    commands
}

struct Reader {
    listener: Arc<Listener>,
    orders: mpsc::UnboundedReceiver<Command>,
    /// For members that are behind, to come back by.
    commands: mpsc::WeakUnboundedSender<Command>,
    bell: Bell,
    members: HashMap<i32, Reading>,
    /// Which members a topic has by name, and those with wildcards.
    exact: HashMap<String, Vec<i32>>,
    wild: Vec<i32>,
    /// What is asked for; none when the members have changed.
    wanted: Option<Wanted>,
    /// For what the doors are.
    slept_for: Option<Wanted>,
    /// Up to where all members have read, but for those that are ahead.
    cursor: Option<Position>,
    /// What is being read, if a look failed on the way.
    window: Option<Window>,
    doors: Vec<i32>,
    asleep: Option<Asleep>,
    pace: Pace,
    /// The addresses that this process has had.
    own: Vec<Uuid>,
}

impl Reader {
    /// Until every handle of this process is gone, or the connection is closed.
    async fn run(mut self) {
        loop {
            // Who joins in the middle of a window could not be told what of it was given out.
            while self.window.is_none()
                && let Ok(command) = self.orders.try_recv()
            {
                self.obey(command);
            }
            if self.members.is_empty() {
                (self.cursor, self.window, self.asleep) = (None, None, None);
                match self.orders.recv().await {
                    Some(command) => self.obey(command),
                    None => return,
                }
                continue;
            }
            let Ok(link) = self.listener.link().await else { return self.end(|| None) };
            match self.round(&link).await {
                Ok(()) => self.rest(&link).await,
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::Unreachable | ErrorKind::Cancelled | ErrorKind::Full
                    ) =>
                {
                    debug!(error = %e, "cannot look");
                    sleep(Duration::from_millis(20)).await;
                }
                Err(e) if matches!(e.kind(), ErrorKind::Denied | ErrorKind::Schema | ErrorKind::Epoch) => {
                    warn!(error = %e, "topics cannot be read");
                    self.end(|| Some(e.again()));
                }
                Err(e) => {
                    warn!(error = %e, "cannot read topics; trying again");
                    self.tell(|| Event::Error(e.again()));
                    sleep(POLL).await;
                }
            }
            if self.listener.current().is_none_or(|now| now.generation != link.generation) {
                self.lost();
            }
        }
    }

    fn obey(&mut self, command: Command) {
        self.wanted = None;
        match command {
            Command::Leave(number, left) => drop((self.members.remove(&number), left)),
            Command::Join(joined) => {
                let (member, position) = *joined;
                if member.queue.is_over(member.turn.as_ref()) {
                    return; // it comes back from behind, too late
                }
                let reading = match &self.cursor {
                    Some(cursor) if !position.seen.covers(&cursor.seen) => {
                        // The window begins where the new one is; the others are ahead of that.
                        for other in self.members.values_mut() {
                            other.ahead.get_or_insert_with(|| cursor.clone());
                        }
                        self.cursor = Some(position);
                        Reading { member, ahead: None, rest: Vec::new() }
                    }
                    Some(_) => Reading { member, ahead: Some(position), rest: Vec::new() },
                    None => {
                        self.cursor = Some(position);
                        Reading { member, ahead: None, rest: Vec::new() }
                    }
                };
                self.members.insert(reading.member.said.number, reading);
            }
        }
    }

    /// Looks, and gives out what is there.
    async fn round(&mut self, link: &Arc<Link>) -> Result<()> {
        self.present(link).await?;
        let wanted = self.index();
        loop {
            let Some(cursor) = &self.cursor else { return Ok(()) };
            let mut window = self.window.take().unwrap_or_else(|| Window::new(cursor.clone()));
            let begun = Instant::now();
            let page = window.next(link, &wanted).await;
            let window = self.window.insert(window);
            let page = page?;
            let (end, another) = (window.end().cloned(), window.of_another());
            if let Some((since, until)) = page.gap {
                self.tell(|| gap(since, until));
            }
            let count = page.messages.len();
            let bytes = page.messages.iter().map(|m| m.sent.payload.bytes().len()).sum();
            for message in page.messages {
                self.give(message);
            }
            self.part(&another);
            if count > 0 {
                self.pace.found(begun, Instant::now(), count, bytes);
            }
            if let Some(end) = end {
                for reading in self.members.values_mut() {
                    reading.ahead = None;
                    reading.member.queue.mark(&end, reading.member.turn.as_ref());
                }
                (self.cursor, self.window) = (Some(end), None);
                break;
            }
        }
        for reading in self.members.values_mut().filter(|m| !m.member.connected) {
            reading.member.connected = true;
            reading.member.queue.tell(Event::Connected);
        }
        Ok(())
    }

    /// Says for each member that it listens, where this connection's session does not know it yet. Who was elsewhere when the last one
    /// was lost, or has it replaced before anybody looked, is told so here.
    async fn present(&mut self, link: &Arc<Link>) -> Result<()> {
        for reading in self.members.values_mut().filter(|m| m.member.generation != link.generation) {
            reading.lost();
            if !link.resumed {
                subscribe(link, &reading.member.said).await?;
            }
            reading.member.generation = link.generation;
        }
        if !self.own.contains(&link.address) {
            self.own.push(link.address);
        }
        Ok(())
    }

    /// Who is to get what, and what is to be asked for.
    fn index(&mut self) -> Wanted {
        if let Some(wanted) = &self.wanted {
            return wanted.clone();
        }
        (self.exact, self.wild) = (HashMap::new(), Vec::new());
        for (number, reading) in &self.members {
            for pattern in &reading.member.patterns {
                match pattern.plain() {
                    Some(name) => self.exact.entry(name.to_owned()).or_default().push(*number),
                    None => self.wild.push(*number),
                }
            }
        }
        self.wild.sort_unstable();
        self.wild.dedup();
        let wanted = Wanted::of(self.members.values().flat_map(|m| &m.member.patterns));
        self.wanted = Some(wanted.clone());
        if self.slept_for.as_ref() != Some(&wanted) {
            (self.slept_for, self.asleep) = (Some(wanted.clone()), None);
            self.doors.clear();
        }
        wanted
    }

    /// Gives a message to each member that listens for it, once.
    fn give(&mut self, message: Placed) {
        let topic = &message.sent.topic;
        let exact = self.exact.get(topic).into_iter().flatten();
        for (number, by_name) in exact.map(|n| (n, true)).chain(self.wild.iter().map(|n| (n, false))) {
            let Some(reading) = self.members.get_mut(number) else { continue };
            let mut patterns = reading.member.patterns.iter();
            // One that has the name too gets it by that.
            let listens = by_name
                || patterns.clone().any(|p| p.plain().is_none() && p.matches(topic))
                    && !patterns.any(|p| p.plain() == Some(topic));
            let ahead = reading.ahead.as_ref().is_some_and(|at| at.seen.sees(message.xid));
            let own = reading.member.filtered && message.sent.sender.is_some_and(|s| self.own.contains(&s));
            if !listens || ahead || own {
                continue;
            }
            let sent = Message::new(message.sent.clone()).under(reading.member.turn.as_ref());
            if !reading.rest.is_empty() || reading.member.queue.push(sent).is_err() {
                reading.rest.push(message.clone());
            }
        }
    }

    /// Members without room go on by themselves, from behind this page.
    fn part(&mut self, window: &Window) {
        let full: Vec<i32> =
            self.members.iter().filter(|(_, m)| !m.rest.is_empty()).map(|(n, _)| *n).collect();
        for number in full {
            let Some(reading) = self.members.remove(&number) else { continue };
            self.wanted = None;
            debug!(number, "a subscription has no room, and reads by itself");
            let behind = behind::Behind {
                member: reading.member,
                ahead: reading.ahead,
                own: self.own.clone(),
                rest: reading.rest,
                window: window.of_another(),
            };
            tokio::spawn(behind.run(self.listener.clone(), self.commands.clone()));
        }
    }

    /// Until it is time to look again.
    async fn rest(&mut self, link: &Arc<Link>) {
        if !self.asleep.as_ref().is_some_and(|a| a.lasts(&self.listener)) {
            self.asleep = None;
            if self.pace.awake() {
                let pause = self.pace.due().max(Instant::now() + self.pace.pause());
                return sleep_until(pause).await;
            }
            match self.doze(link).await {
                Ok(asleep) => self.asleep = Some(asleep),
                Err(e) => debug!(error = %e, "cannot sleep on the doors; looking once a second"),
            }
        } else if self.pace.awake() {
            self.asleep = None; // publishers need not ring
            return sleep_until(self.pace.due()).await;
        }
        let poll = if self.asleep.as_ref().is_some_and(Asleep::soundly) { LONG_POLL } else { POLL };
        tokio::select! {
            _ = timeout(poll, self.bell.rung()) => {}
            command = self.orders.recv() => if let Some(command) = command { self.obey(command) },
            _ = self.listener.next_after(link) => {}
        }
    }

    async fn doze(&mut self, link: &Arc<Link>) -> Result<Asleep> {
        if self.doors.is_empty() {
            self.doors = match &self.slept_for {
                Some(Wanted { names: Some(names), expression: None }) if names.len() <= FEW => {
                    link.value(DOORS, &[(names, Type::TEXT_ARRAY)]).await?
                }
                _ => vec![ANY],
            };
        }
        self.listener.doze(&self.doors).await
    }

    /// Tells all of them.
    fn tell(&self, event: impl Fn() -> Event) {
        self.members.values().for_each(|m| m.member.queue.tell(event()));
    }

    /// The connection is gone: everybody is told, once.
    fn lost(&mut self) {
        self.asleep = None;
        self.members.values_mut().for_each(Reading::lost);
    }

    /// Nothing more comes.
    fn end(&mut self, why: impl Fn() -> Option<crate::Error>) {
        for (_, reading) in self.members.drain() {
            reading.member.queue.close(why());
        }
        while let Ok(command) = self.orders.try_recv() {
            if let Command::Join(joined) = command {
                joined.0.queue.close(why());
            }
        }
    }
}

/// Times are of the database's clock, so that a gap's are of one.
pub(super) fn gap(since: SystemTime, until: SystemTime) -> Event {
    Event::Gap(Gap { since, until, missed: None })
}
