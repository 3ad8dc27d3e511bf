//! What travels on topics, and what a subscription tells of itself.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{Kind, durable::InHand, kept::Place};
use crate::{
    Error, ErrorKind, Result,
    executor::{Executor, Param},
    leases::{self, Loss},
    requests::{Headers, Payload},
};

const CLAIM: &str = "select trunkline.topic_claim($1, $2)::int::bigint";

/// A message to be published: a payload, and what goes with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewMessage {
    pub(super) payload: Payload,
    pub(super) headers: Headers,
    pub(super) message_id: Option<String>,
    pub(super) kind: Option<Kind>,
}

impl NewMessage {
    /// A message with this payload.
    pub fn new(payload: impl Into<Payload>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }

    /// Adds a header. A channel carries none.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// An id of the sender's choice, at most 100 bytes: by it one of all who listen executes the message ([`Message::claim`]). A channel carries none.
    #[must_use]
    pub fn message_id(mut self, id: impl Into<String>) -> Self {
        self.message_id = Some(id.into());
        self
    }

    /// Publishes on a topic of this kind: [`Kind::Channel`] for the plain PostgreSQL channel. Without it, as the topic was declared, and
    /// volatile where nobody did.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Refuses what no topic takes; names and sizes are the database's affair.
    pub(super) fn check(&self) -> Result<()> {
        let id = self.message_id.as_deref().unwrap_or_default();
        if id.len() > 100 {
            let text = format!("message id must be at most 100 bytes, got {}", id.len());
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        if id.contains('\0') {
            return Err(Error::new(ErrorKind::Invalid, "message id must not contain NUL"));
        }
        Ok(())
    }
}

impl<P: Into<Payload>> From<P> for NewMessage {
    fn from(payload: P) -> Self {
        Self::new(payload)
    }
}

/// What happens to messages for which the buffer has no room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFull {
    /// They wait in the database, a volatile one for a minute at least, a durable one for ever; nothing is dropped before. A channel keeps
    /// nothing: there it is as [`OnFull::DropNewest`].
    #[default]
    Wait,
    /// The oldest in the buffer go, and a gap tells how many.
    DropOldest,
    /// They go themselves, and a gap tells how many.
    DropNewest,
}

/// What was published, shared by all who got it.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) topic: String,
    pub(super) id: i64,
    pub(super) at: Option<SystemTime>,
    pub(super) sender: Option<Uuid>,
    pub(super) payload: Payload,
    pub(super) headers: Headers,
    pub(super) message_id: Option<String>,
}

/// The lease of the active one, and its fence.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub(super) lease: Arc<str>,
    pub(super) fence: i64,
}

/// A message as a subscription gets it. Clones share what was sent.
#[derive(Debug, Clone)]
pub struct Message {
    pub(super) sent: Arc<Sent>,
    pub(super) fence: Option<i64>,
    /// The lease of a single subscription.
    pub(super) lease: Option<Arc<str>>,
    /// Of a durable one: handled when the last clone is dropped.
    pub(super) in_hand: Option<Arc<InHand>>,
    /// On a channel, of a single subscription: behind it.
    pub(super) place: Option<Place>,
}

impl Message {
    pub(super) fn new(sent: Arc<Sent>) -> Self {
        Self { sent, fence: None, lease: None, in_hand: None, place: None }
    }

    /// As the active one of a single subscription gets it.
    pub(super) fn under(self, turn: Option<&Turn>) -> Self {
        match turn {
            Some(turn) => Self { fence: Some(turn.fence), lease: Some(turn.lease.clone()), ..self },
            None => self,
        }
    }

    /// The topic it was published on.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.sent.topic
    }

    /// What it says.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.sent.payload
    }

    /// Its headers.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.sent.headers
    }

    /// Its number; 0 on a channel, which numbers nothing.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.sent.id
    }

    /// When it was published, by the database's clock; on a channel when it came, by this machine's.
    #[must_use]
    pub fn at(&self) -> SystemTime {
        self.sent.at.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The address of the session that published it, where it has one; never on a channel.
    #[must_use]
    pub fn sender(&self) -> Option<Uuid> {
        self.sent.sender
    }

    /// The id that the sender chose.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.sent.message_id.as_deref()
    }

    /// Of a single subscription: the fence of the lease that makes it the active one. [`Message::guard`] makes effects conditional on
    /// it, as `trunkline.lease_check` does in SQL.
    #[must_use]
    pub fn fence(&self) -> Option<i64> {
        self.fence
    }

    /// Makes your own transaction fail unless this subscription is the active one still, until that transaction ends: see
    /// [`Lease::guard`](crate::leases::Lease::guard). Does nothing where it is not a single one.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when another has been active since: roll back.
    pub async fn guard(&self, executor: &mut impl Executor) -> Result<()> {
        let (Some(fence), Some(lease)) = (self.fence, &self.lease) else { return Ok(()) };
        leases::guard(executor, lease, fence).await
    }

    /// Claims it, by the id that its sender chose, in your own transaction: true for the one of all who listen that executes it. The
    /// others wait for that to commit, and get false; when it is rolled back, or dies, one of them gets true.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a message without such an id, and outside READ COMMITTED.
    pub async fn claim(&self, executor: &mut impl Executor) -> Result<bool> {
        let Some(id) = &self.sent.message_id else {
            return Err(Error::new(
                ErrorKind::Invalid,
                "a message without an id of its sender's cannot be claimed",
            ));
        };
        let params = [Param::Text(Some(&self.sent.topic)), Param::Text(Some(id))];
        Ok(executor.scalar(CLAIM, &params).await? == 1)
    }

    /// The payload as text. See [`Payload::text`].
    ///
    /// # Errors
    /// As [`Payload::text`].
    pub fn text(&self) -> Result<&str> {
        self.sent.payload.text()
    }

    /// The payload as a value, from JSON.
    ///
    /// # Errors
    /// [`Unreadable`], with the payload as it is, when it is not JSON of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Box<Unreadable>> {
        self.sent.payload.parse().map_err(|error| Box::new(Unreadable { message: self.clone(), error }))
    }

    /// Of a durable topic: it comes again later, as if its handler had failed; nothing else elsewhere.
    pub fn fail(&self, cause: &str) {
        if let Some(in_hand) = &self.in_hand {
            in_hand.fail(cause.to_owned());
        }
    }

    /// It was yielded, or dropped and told: what becomes of it is known.
    pub(super) fn given(&self) {
        if let Some(in_hand) = &self.in_hand {
            in_hand.given();
        }
    }

    /// For how much it counts in a buffer.
    pub(super) fn bytes(&self) -> usize {
        self.sent.payload.bytes().len()
    }
}

/// A message that is not what was expected. Shows nothing of it by itself; the message is here as it came.
#[derive(Debug)]
pub struct Unreadable {
    /// The message, with its raw payload.
    pub message: Message,
    /// What is wrong with it.
    pub error: Error,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message on topic \"{}\": {}", self.message.topic(), self.error)
    }
}

impl std::error::Error for Unreadable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// A time in which messages may have been missed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// All that was published before came, or an earlier gap tells of it.
    pub since: SystemTime,
    /// From here on everything comes.
    pub until: SystemTime,
    /// How many, where that is known: those for which the buffer had no room.
    pub missed: Option<u64>,
}

/// What a subscription yields.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Everything is subscribed: what is published from now on comes. Said first, and after each reconnect.
    Connected,
    /// The connection is lost; it is made again by itself.
    Lost,
    /// Messages may have been missed. Comes where they would have been, before [`Event::Connected`] after a reconnect.
    Gap(Gap),
    /// This subscription is the active one from now on.
    Active {
        /// The fence of its lease, which rises with each hand-over.
        fence: i64,
        /// For how long the one before had given no sign of life; a few milliseconds when it resigned, none when there was none.
        silent: Option<Duration>,
    },
    /// Another subscription is the active one, or may be.
    Standby {
        /// Why this one is it no longer; none when it was not.
        reason: Option<Loss>,
    },
    /// A message.
    Message(Message),
    /// Something failed and is tried again; what ends the subscription comes from [`Subscription::next`](super::Subscription::next).
    Error(Error),
}

impl Event {
    /// A message that came then had no room.
    pub(super) fn dropped(at: SystemTime) -> Self {
        Self::Gap(Gap { since: at, until: at, missed: Some(1) })
    }
}

impl Gap {
    /// Two gaps one upon the other are one; how many is known when it is of both.
    pub(super) fn merge(&mut self, more: &Self) {
        self.since = self.since.min(more.since);
        self.until = self.until.max(more.until);
        self.missed = self.missed.zip(more.missed).map(|(a, b)| a + b);
    }
}
