//! Topics: publish messages; whoever listens gets each, or is told what he may have missed.
//!
//! [`Topics::publish`] sends, [`Topics::subscribe`] listens. Guarantees, and what is not promised: `docs/topics.md`.
//!
//! ```text
//!   publish ──┬─ volatile ──▶ [ring, unlogged, a minute] ── one look for a whole process ──▶ buffer ──▶ your handlers
//!             ├─ channel ───▶ NOTIFY, as of any other program ──────────────────────────────▶ buffer ──▶
//!             └─ durable ───▶ [stream] ── a consumer for each named subscription ───────────▶ buffer ──▶
//! ```

mod behind;
mod channels;
mod cursor;
mod durable;
mod filter;
mod gaps;
mod handlers;
mod kept;
mod look;
mod message;
mod publish;
mod queue;
mod reader;
mod single;
mod subscribe;

use std::{
    sync::{Arc, OnceLock, atomic::AtomicI32},
    time::SystemTime,
};

use tokio::sync::mpsc;
use tokio_postgres::types::Type;
use uuid::Uuid;

pub use self::{
    cursor::{Cursor, Page},
    handlers::{Handlers, Told},
    message::{Event, Gap, Message, NewMessage, OnFull, Unreadable},
    subscribe::{Handling, Subscribe, Subscription},
};
use crate::{
    Result,
    executor::{Executor, Param},
    leases,
    listener::{Args, Listener},
    requests::encode_headers,
    trace::Sending,
    writer::Writer,
};

const CREATE: &str = "select trunkline.topic_create($1, $2, $3)";
const DROP: &str = "select trunkline.topic_drop($1)";
const FORGET: &str = "select trunkline.topic_forget($1)";
const SUBSCRIPTIONS: &str = "select topics, kind, name, single, active, fence, since, application, address, gaps, gap_at from trunkline.topic_subscriptions()";
const PUBLISH_ON: [&str; 3] = [
    "select coalesce(trunkline.topic_publish_bytes($1, $2, $3::text::jsonb, $4, $5), 0)",
    "select coalesce(trunkline.topic_publish($1, convert_from($2, 'UTF8'), $3::text::jsonb, $4, $5), 0)",
    "select coalesce(trunkline.topic_publish_json($1, convert_from($2, 'UTF8')::jsonb, $3::text::jsonb, $4, $5), 0)",
];

/// What a topic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A plain PostgreSQL channel: hears every NOTIFY of triggers and other programs, and they hear it. Less than 8,000 bytes of text.
    Channel,
    /// Messages that are kept for a minute, for who listens now: large payloads, high rates, gaps known.
    Volatile,
    /// A stream: every named subscription gets each message, also what was published while it was away.
    Durable,
}

impl Kind {
    /// The word for it, the same in SQL.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Volatile => "volatile",
            Self::Durable => "durable",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "channel" => Self::Channel,
            "durable" => Self::Durable,
            _ => Self::Volatile,
        }
    }
}

/// The engine behind all handles of one process.
#[derive(Debug)]
pub(crate) struct Engine {
    listener: Arc<Listener>,
    leases: Arc<leases::Engine>,
    writer: Writer<publish::Outgoing>,
    reader: OnceLock<mpsc::UnboundedSender<reader::Command>>,
    channels: OnceLock<mpsc::UnboundedSender<channels::Command>>,
    /// Of subscriptions: 1, 2, …
    numbers: AtomicI32,
}

impl Engine {
    pub(crate) fn start(listener: Arc<Listener>, leases: Arc<leases::Engine>) -> Arc<Self> {
        let writer = Writer::start(listener.clone());
        let (reader, channels, numbers) = (OnceLock::new(), OnceLock::new(), AtomicI32::new(1));
        Arc::new(Self { listener, leases, writer, reader, channels, numbers })
    }

    fn reader(&self) -> &mpsc::UnboundedSender<reader::Command> {
        self.reader.get_or_init(|| reader::start(self.listener.clone()))
    }

    fn channels(&self) -> &mpsc::UnboundedSender<channels::Command> {
        self.channels.get_or_init(|| channels::start(self.listener.clone()))
    }
}

/// The handle for topics; clones share one connection.
#[derive(Debug, Clone)]
pub struct Topics {
    engine: Arc<Engine>,
}

/// A subscription, of any process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listening {
    /// The topics and wildcards.
    pub topics: Vec<String>,
    /// Their kind.
    pub kind: Kind,
    /// The name of a durable or single one.
    pub name: Option<String>,
    /// One of all that have the name is active.
    pub single: bool,
    /// This one is.
    pub active: bool,
    /// The fence of the active one.
    pub fence: Option<i64>,
    /// Since when it is active, or stands by.
    pub since: SystemTime,
    /// The application name of its process.
    pub application: String,
    /// The address of its process.
    pub address: Uuid,
    /// How often it was told that something may be missing; known a second later.
    pub gaps: i64,
    /// When that was last.
    pub gap_at: Option<SystemTime>,
}

impl Topics {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Declares a topic: true when it is new. Only durable ones need it. Needs the owner's rights, or those of `trunkline_admin`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for the name; [`ErrorKind::Conflict`](crate::ErrorKind::Conflict)
    /// when it is declared as another kind; [`ErrorKind::Denied`](crate::ErrorKind::Denied).
    pub async fn create(&self, topic: &str, kind: Kind) -> Result<bool> {
        self.create_up_to(topic, kind, 1 << 20).await
    }

    /// The same, for payloads of so many bytes, 64 MiB at most, where [`Topics::create`] has 1 MiB; of a channel it is less than 8,000 always.
    ///
    /// # Errors
    /// As [`Topics::create`], also for the size.
    pub async fn create_up_to(&self, topic: &str, kind: Kind, max_bytes: i32) -> Result<bool> {
        let word = kind.word();
        let args: &Args<'_> = &[(&topic, Type::TEXT), (&word, Type::TEXT), (&max_bytes, Type::INT4)];
        let new = self.engine.listener.link().await?.value(CREATE, args).await?;
        if new {
            self.engine.listener.ring(durable::DECLARED); // a session does not notify itself
        }
        Ok(new)
    }

    /// Forgets what was declared: false when nothing was. A durable topic's messages go with it.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) for a durable topic that has subscriptions;
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied).
    pub async fn drop(&self, topic: &str) -> Result<bool> {
        self.engine.listener.link().await?.value(DROP, &[(&topic, Type::TEXT)]).await
    }

    /// Ends a named subscription to durable topics for good, with its wildcards, and what was kept for it: from how many topics it was
    /// removed. Whoever subscribes under the name then begins anew.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied) for another role's.
    pub async fn forget(&self, name: &str) -> Result<i32> {
        self.engine.listener.link().await?.value(FORGET, &[(&name, Type::TEXT)]).await
    }

    /// Publishes a message: its id, once it is committed; 0 on a channel, which numbers nothing. Those that many tasks publish at the
    /// same time, on any topics, are written together.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for what is out of its limits,
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) for a topic of another kind. After
    /// [`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable) it may have been published.
    pub async fn publish(&self, topic: &str, message: impl Into<NewMessage>) -> Result<i64> {
        let (sending, mut message) = (Sending::new("publish", topic), message.into());
        sending.mark(&mut message.headers);
        sending.one(publish::publish(&self.engine.writer, topic, [message].into_iter())).await
    }

    /// Publishes messages on a topic in one transaction: their ids, in order. All of them, or none.
    ///
    /// # Errors
    /// As [`Topics::publish`], with the number of the message.
    pub async fn publish_all(
        &self,
        topic: &str,
        messages: impl IntoIterator<Item = impl Into<NewMessage>>,
    ) -> Result<Vec<i64>> {
        let sending = Sending::new("publish", topic);
        let mut messages: Vec<NewMessage> = messages.into_iter().map(Into::into).collect();
        messages.iter_mut().for_each(|message| sending.mark(&mut message.headers));
        sending.many(publish::publish(&self.engine.writer, topic, messages.into_iter())).await
    }

    /// Publishes a message in your own transaction: it is heard after the commit, and gone with a rollback.
    ///
    /// # Errors
    /// As [`Topics::publish`].
    pub async fn publish_on(
        &self,
        executor: &mut impl Executor,
        topic: &str,
        message: impl Into<NewMessage>,
    ) -> Result<i64> {
        let (sending, mut message) = (Sending::new("publish", topic), message.into());
        sending.mark(&mut message.headers);
        message.check()?;
        let headers = encode_headers(&message.headers)?;
        let sql = PUBLISH_ON[usize::from(message.payload.content().code().unsigned_abs())];
        let params = [
            Param::Text(Some(topic)),
            Param::Bytes(Some(message.payload.bytes())),
            Param::Text(headers.as_deref()),
            Param::Text(message.message_id.as_deref()),
            Param::Text(message.kind.map(Kind::word)),
        ];
        sending.run(executor.scalar(sql, &params)).await
    }

    /// Listens: what is published from now on comes, until the subscription is dropped. All subscriptions of a process use its one
    /// connection, and one look at the ring serves them all.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for topics and options that do not go together;
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for a durable topic that is not
    /// there; [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) for one of another kind.
    pub async fn subscribe(&self, options: impl Into<Subscribe>) -> Result<Subscription> {
        Subscription::start(self.engine.clone(), options.into()).await
    }

    /// Who listens on what, in every process; who is active, and since when.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn subscriptions(&self) -> Result<Vec<Listening>> {
        let rows = self.engine.listener.link().await?.query(SUBSCRIPTIONS, &[]).await?;
        rows.iter()
            .map(|row| {
                Ok(Listening {
                    topics: row.try_get(0)?,
                    kind: Kind::of(row.try_get(1)?),
                    name: row.try_get(2)?,
                    single: row.try_get(3)?,
                    active: row.try_get(4)?,
                    fence: row.try_get(5)?,
                    since: row.try_get(6)?,
                    application: row.try_get(7)?,
                    address: row.try_get(8)?,
                    gaps: row.try_get(9)?,
                    gap_at: row.try_get(10)?,
                })
            })
            .collect()
    }
}
