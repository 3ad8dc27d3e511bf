//! Streams: append events; any number of consumers read every committed one, each in exactly one batch.
//!
//! [`Streams::append`] writes, [`Streams::consumer`] reads batch by batch, [`Streams::consume`] runs a handler for each
//! event. Guarantees, and what is not promised: `docs/streams.md`.
//!
//! ```text
//!  append ──▶ [segment of the ring] ── tick: a snapshot ──▶ window between two ticks ──▶ batch ── finish ──▶ done
//!                                                                                          │
//!                                   the same batch comes again, with a new token ◀─────────┘ its holder died
//! ```

mod append;
mod consume;
mod consumer;
mod load;
mod pace;
mod read;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::{Stream, StreamExt as _};
use tokio_postgres::types::Type;

pub(crate) use self::pace::Pace;
pub use self::{
    consume::{Consume, Consuming, OnFailure},
    consumer::{Batch, Consumer, Mode},
};
use crate::{
    Error, ErrorKind, Result,
    connect::Pool,
    executor::{Executor, Param},
    listener::{Args, Listener},
    requests::{Content, Failure, Headers, Payload, encode_headers},
    trace::Sending,
    writer::Writer,
};

const OPEN: &str = "select trunkline.stream_open($1)";
const REGISTER: &str = "select trunkline.stream_register($1, $2, $3)";
const UNREGISTER: &str = "select trunkline.stream_unregister($1, $2)";
const TICK: &str = "select trunkline.stream_tick($1, $2)";
const APPEND_ON: [&str; 3] = [
    "select trunkline.stream_append_bytes($1, $2, $3, $4, $5::text::jsonb)",
    "select trunkline.stream_append($1, convert_from($2, 'UTF8'), $3, $4, $5::text::jsonb)",
    "select trunkline.stream_append_json($1, convert_from($2, 'UTF8')::jsonb, $3, $4, $5::text::jsonb)",
];

/// The engine behind all handles of one process.
#[derive(Debug)]
pub(crate) struct Engine {
    listener: Arc<Listener>,
    writer: Writer<NewEvent>,
    /// For what would hold up the one connection.
    pool: Pool,
}

impl Engine {
    pub(crate) fn start(listener: Arc<Listener>, pool: Pool) -> Arc<Self> {
        let writer = Writer::start(listener.clone());
        Arc::new(Self { listener, writer, pool })
    }
}

/// The handle for streams; clones share one connection.
#[derive(Debug, Clone)]
pub struct Streams {
    engine: Arc<Engine>,
}

/// An event to be appended: a payload, and what describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewEvent {
    payload: Payload,
    kind: String,
    key: Option<String>,
    headers: Headers,
}

impl NewEvent {
    /// An event with this payload, without type, key and headers.
    pub fn new(payload: impl Into<Payload>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }

    /// Its type: a word for readers to choose by, at most 100 bytes.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// Its key: what it is about, at most 1,000 bytes.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Refuses what no stream takes; sizes of payloads are the stream's affair.
    fn check(&self) -> Result<()> {
        let most = |what, most: usize, got: usize| {
            if got <= most {
                return Ok(());
            }
            let text = format!("event {what} must be at most {most} bytes, got {got}");
            Err(Error::new(ErrorKind::Invalid, text))
        };
        most("type", 100, self.kind.len())?;
        most("key", 1000, self.key.as_ref().map_or(0, String::len))?;
        if self.kind.contains('\0') || self.key.as_ref().is_some_and(|k| k.contains('\0')) {
            return Err(Error::new(ErrorKind::Invalid, "event type and key must not contain NUL"));
        }
        encode_headers(&self.headers).map(drop)
    }
}

impl<P: Into<Payload>> From<P> for NewEvent {
    fn from(payload: P) -> Self {
        Self::new(payload)
    }
}

/// An event as a consumer gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Its number: rises in the order of the calls that appended, not of their commits.
    pub id: i64,
    /// When it was appended.
    pub at: SystemTime,
    /// Its type.
    pub kind: String,
    /// What it is about.
    pub key: Option<String>,
    /// What it says.
    pub payload: Payload,
    /// Its headers.
    pub headers: Headers,
    /// 1, or more when it comes again after a retry.
    pub attempt: i32,
}

/// Where a new consumer begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Position {
    /// What commits from now on.
    #[default]
    End,
    /// Everything that is still kept.
    Beginning,
    /// Behind a tick.
    Tick(i64),
    /// Where another consumer stands.
    Like(String),
    /// A time, as PostgreSQL reads it: the last tick before it.
    Time(String),
}

impl Position {
    fn text(&self) -> String {
        match self {
            Self::End => "end".into(),
            Self::Beginning => "beginning".into(),
            Self::Tick(id) => format!("tick:{id}"),
            Self::Like(name) => format!("like:{name}"),
            Self::Time(at) => at.clone(),
        }
    }
}

impl Streams {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Makes a stream, or finds it. Needs the right to create tables in the schema: the owner's, or `trunkline_admin`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for the name; [`ErrorKind::Denied`].
    pub async fn open(&self, stream: &str) -> Result<()> {
        let link = self.engine.listener.link().await?;
        link.query(OPEN, &[(&stream, Type::TEXT)]).await.map(drop)
    }

    /// Appends an event: its id, once it is committed. Those that many tasks append at the same time are written together.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a stream that is not there, [`ErrorKind::Conflict`] for a closed one,
    /// [`ErrorKind::Invalid`] for what is out of its limits. After [`ErrorKind::Unreachable`] it may have been written.
    pub async fn append(&self, stream: &str, event: impl Into<NewEvent>) -> Result<i64> {
        let (sending, mut event) = (Sending::new("append", stream), event.into());
        sending.mark(&mut event.headers);
        sending.one(append::append(&self.engine.writer, stream, vec![event])).await
    }

    /// Appends events in one transaction: their ids, in order. All of them, or none.
    ///
    /// # Errors
    /// As [`Streams::append`], with the number of the event.
    pub async fn append_all(
        &self,
        stream: &str,
        events: impl IntoIterator<Item = impl Into<NewEvent>>,
    ) -> Result<Vec<i64>> {
        let sending = Sending::new("append", stream);
        let mut events: Vec<NewEvent> = events.into_iter().map(Into::into).collect();
        events.iter_mut().for_each(|event| sending.mark(&mut event.headers));
        sending.many(append::append(&self.engine.writer, stream, events)).await
    }

    /// Appends events in bulk, as fast as COPY, in one transaction on a session of its own: how many. All or none; they
    /// are in memory a chunk at a time, however many there are.
    ///
    /// # Errors
    /// As [`Streams::append`]. Dropping the future rolls back.
    pub async fn load<S>(&self, stream: &str, events: S) -> Result<u64>
    where
        S: Stream<Item = NewEvent> + Send,
    {
        let sending = Sending::new("load", stream);
        let events = events.map(|mut event| {
            sending.mark(&mut event.headers);
            event
        });
        sending.load(load::load(&self.engine.pool, stream, events)).await
    }

    /// Appends an event in your own transaction: it goes out with the commit, and is gone with a rollback.
    ///
    /// # Errors
    /// As [`Streams::append`].
    pub async fn append_on(
        &self,
        executor: &mut impl Executor,
        stream: &str,
        event: impl Into<NewEvent>,
    ) -> Result<i64> {
        let (sending, mut event) = (Sending::new("append", stream), event.into());
        sending.mark(&mut event.headers);
        event.check()?;
        let headers = encode_headers(&event.headers)?;
        let sql = APPEND_ON[usize::from(event.payload.content().code().unsigned_abs())];
        let params = [
            Param::Text(Some(stream)),
            Param::Bytes(Some(event.payload.bytes())),
            Param::Text(Some(&event.kind)),
            Param::Text(event.key.as_deref()),
            Param::Text(headers.as_deref()),
        ];
        sending.run(executor.scalar(sql, &params)).await
    }

    /// Registers a consumer: true when it is new. One that is there stays where it is.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a stream, or a position, that is not there; [`ErrorKind::Invalid`] for the name.
    pub async fn register(&self, stream: &str, consumer: &str, at: Position) -> Result<bool> {
        let at = at.text();
        let args: &Args<'_> = &[(&stream, Type::TEXT), (&consumer, Type::TEXT), (&at, Type::TEXT)];
        self.engine.listener.link().await?.value(REGISTER, args).await
    }

    /// Removes a consumer, its retries and dead letters: false when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] when it belongs to another role.
    pub async fn unregister(&self, stream: &str, consumer: &str) -> Result<bool> {
        let args: &Args<'_> = &[(&stream, Type::TEXT), (&consumer, Type::TEXT)];
        self.engine.listener.link().await?.value(UNREGISTER, args).await
    }

    /// Makes a tick if anything is new: its id. Consumers that wait tick by themselves; this is for those who poll.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a stream that is not there; [`ErrorKind::Epoch`] after a restore.
    pub async fn tick(&self, stream: &str) -> Result<Option<i64>> {
        let args: &Args<'_> = &[(&stream, Type::TEXT), (&false, Type::BOOL)];
        self.engine.listener.link().await?.value(TICK, args).await
    }

    /// A member of a consumer, to take its batches one by one.
    #[must_use]
    pub fn consumer(&self, stream: impl Into<String>, consumer: impl Into<String>) -> Consumer {
        Consumer::new(self.engine.listener.clone(), stream.into(), consumer.into())
    }

    /// Runs a handler for each event of a consumer, until [`Consuming::stop`] or until the handle is dropped.
    ///
    /// Events of a batch are handled in order, one at a time unless [`Consume::concurrency`] says otherwise; a batch is
    /// finished when all of it was handled. What fails, or panics, comes again after a while ([`OnFailure`]). Each event is
    /// handled at least once; for exactly once take batches by hand, and finish each in the transaction of your writes.
    pub fn consume<H, F>(&self, options: Consume, handler: H) -> Consuming
    where
        H: Fn(Event) -> F + Send + Sync + 'static,
        F: Future<Output = std::result::Result<(), Failure>> + Send + 'static,
    {
        consume::start(self.engine.listener.clone(), options, handler)
    }
}

/// How long until an event that failed comes again: twice as long each time, from a second to ten minutes.
#[must_use]
pub fn backoff(attempt: i32) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(0).min(10);
    Duration::from_secs(1 << doublings).min(Duration::from_secs(600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_comes_again_later_each_time() {
        let seconds: Vec<u64> = [1, 2, 3, 10, 11, i32::MAX].map(|a| backoff(a).as_secs()).to_vec();
        assert_eq!(seconds, [1, 2, 4, 512, 600, 600]);
    }
}
