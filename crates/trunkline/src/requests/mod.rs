//! Requests and replies: ask a service and get exactly one definite outcome before a deadline.
//!
//! [`Requests::call`] sends a request to one responder of a channel (or to one session) and awaits the reply.
//! [`Requests::serve`] answers. Guarantees, and what is not promised: `docs/requests.md`.

mod caller;
mod payload;
mod responder;
mod snapshot;
pub(crate) mod wire;

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};
use tracing::Instrument as _;

pub use caller::Summary;
pub use payload::{Content, Destination, Headers, Part, Payload, Reply};
pub use responder::{Failure, Incoming, Request};

use self::{
    caller::{Caller, Counters},
    payload::{LONGEST, encode_headers},
    responder::{Responder, Service},
    wire::Outgoing,
};
use crate::{
    Error, ErrorKind, Result,
    executor::{Executor, Param},
    listener::Listener,
};

/// The engine behind all handles of one process.
#[derive(Debug)]
pub(crate) struct Engine {
    caller: Arc<Caller>,
    responder: Arc<Responder>,
    counters: Arc<Counters>,
    listener: Arc<Listener>,
}

impl Engine {
    pub(crate) fn start(listener: Arc<Listener>) -> Arc<Self> {
        let counters = Arc::new(Counters::default());
        let caller = Caller::start(listener.clone(), counters.clone());
        let responder = Responder::start(listener.clone(), counters.clone());
        Arc::new(Self { caller, responder, counters, listener })
    }
}

/// The handle for requests; clones share one connection.
#[derive(Debug, Clone)]
pub struct Requests {
    engine: Arc<Engine>,
}

/// What one process has done since it began; the numbers only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests written.
    pub sent: u64,
    /// Endings that reached a call.
    pub replied: u64,
    /// Endings that the poll found and no bell announced.
    pub found_by_poll: u64,
    /// Endings for a call that had ended already.
    pub unclaimed: u64,
    /// Requests accepted as responder.
    pub served: u64,
    /// Own answers that were refused as late.
    pub refused: u64,
    /// Accepted requests that ended before they were answered.
    pub expired: u64,
}

impl Requests {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Asks one responder of a channel (`"hash"`), or one session (`"@…"` or a [`uuid::Uuid`]), and awaits the reply.
    ///
    /// The default deadline is 30 s. Await the builder, or [`Call::start`] it for a handle.
    pub fn call(&self, to: impl Into<Destination>, payload: impl Into<Payload>) -> Call {
        Call {
            engine: self.engine.clone(),
            to: to.into(),
            payload: payload.into(),
            kind: String::new(),
            timeout: Duration::from_secs(30),
            flags: 32,
            headers: Headers::new(),
            parts: None,
            lane: None,
        }
    }

    /// Sends without expecting a reply. Awaiting it ends when the request is committed; with [`Call::confirm`], when
    /// somebody took it.
    pub fn send(&self, to: impl Into<Destination>, payload: impl Into<Payload>) -> Call {
        let mut call = self.call(to, payload);
        call.flags |= 8;
        call
    }

    /// Asks every responder of a channel that is present now; the first `most` outcomes within `within`.
    ///
    /// # Errors
    /// [`ErrorKind::NoResponder`] when nobody is present.
    pub async fn gather(
        &self,
        channel: &str,
        payload: impl Into<Payload>,
        most: usize,
        within: Duration,
    ) -> Result<Vec<Result<Reply>>> {
        let payload = payload.into();
        let most_bytes = self.engine.caller.lane(channel).await?.most;
        let lanes = wire::crowd(&*self.engine.listener.link().await?, channel, "").await?;
        if lanes.is_empty() {
            return Err(caller::no_responder(channel));
        }
        let mut calls = tokio::task::JoinSet::new();
        for lane in lanes {
            let mut call = self.call(channel, payload.clone()).wait_for_responder().timeout(within);
            call.lane = Some(wire::Lane { number: lane, ring: wire::Ring::Ephemeral, most: most_bytes });
            calls.spawn(call.into_future());
        }
        let mut outcomes = Vec::new();
        while outcomes.len() < most
            && let Some(outcome) = calls.join_next().await
        {
            outcomes.push(outcome.unwrap_or_else(|_| Err(caller::lost())));
        }
        Ok(outcomes)
    }

    /// Serves a channel with an async function; runs until [`Serving::stop`] or until the handle is dropped.
    ///
    /// The handler's error, or its panic, is the caller's `remote error`. It is dropped at its next `.await` when the
    /// request ends before it does. At most `concurrency` handlers run at once, and no more is taken than that.
    pub fn serve<H, F, P>(&self, options: impl Into<Serve>, handler: H) -> Serving
    where
        H: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = std::result::Result<P, Failure>> + Send + 'static,
        P: Into<Payload> + Send + 'static,
    {
        let (rx, stop, pump) = self.open(options.into());
        let work = tokio::spawn(responder::handle(rx, handler));
        Serving { stop, pump: Some(pump), work: Some(work) }
    }

    /// Serves a channel by polling: requests come out of the [`Inbox`], to be answered one by one.
    pub fn inbox(&self, options: impl Into<Serve>) -> Inbox {
        let (rx, stop, pump) = self.open(options.into());
        drop(pump); // it ends when told to, so that what it is taking just now is answered
        Inbox { rx, stop }
    }

    /// What was sent and is not answered yet, oldest first.
    #[must_use]
    pub fn awaiting(&self) -> Vec<Summary> {
        self.engine.caller.awaiting()
    }

    /// What was accepted and is not answered yet, oldest first: id, type and age.
    #[must_use]
    pub fn incoming(&self) -> Vec<(i64, String, Duration)> {
        self.engine.responder.incoming()
    }

    /// Counters of this process.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let c = &self.engine.counters;
        let get = |a: &std::sync::atomic::AtomicU64| a.load(Ordering::Relaxed);
        Stats {
            sent: get(&c.sent),
            replied: get(&c.replied),
            found_by_poll: get(&c.found_by_poll),
            unclaimed: get(&c.unclaimed),
            served: get(&c.served),
            refused: get(&c.refused),
            expired: get(&c.expired),
        }
    }

    fn open(&self, options: Serve) -> (mpsc::Receiver<Incoming>, watch::Sender<bool>, JoinHandle<()>) {
        let (tx, rx) = mpsc::channel(options.concurrency.clamp(1, 128));
        let (stop, stopped) = watch::channel(false);
        let responder = self.engine.responder.clone();
        let service = Service {
            channel: options.channel,
            types: options.types,
            concurrency: options.concurrency.clamp(1, 10_000),
        };
        let pump = tokio::spawn(async move { responder.pump(service, tx, stopped).await });
        (rx, stop, pump)
    }
}

/// What to serve, and how.
#[derive(Debug, Clone)]
pub struct Serve {
    channel: Option<String>,
    types: Option<Vec<String>>,
    concurrency: usize,
}

impl Serve {
    /// A channel, every type, 16 at once.
    pub fn channel(name: impl Into<String>) -> Self {
        Self { channel: Some(name.into()), types: None, concurrency: 16 }
    }

    /// What is sent to this process's own address.
    #[must_use]
    pub fn own_address() -> Self {
        Self { channel: None, types: None, concurrency: 16 }
    }

    /// Only these types; others go to who serves them, or get an `unsupported` reply.
    #[must_use]
    pub fn types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.types = Some(types.into_iter().map(Into::into).collect());
        self
    }

    /// How many requests are handled at once: 1 to 10,000.
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }
}

impl From<&str> for Serve {
    fn from(channel: &str) -> Self {
        Self::channel(channel)
    }
}

/// A responder at work.
#[derive(Debug)]
pub struct Serving {
    stop: watch::Sender<bool>,
    pump: Option<JoinHandle<()>>,
    work: Option<JoinHandle<()>>,
}

impl Serving {
    /// Takes no more, and waits until what was taken is answered.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(pump) = self.pump.take() {
            let _ = pump.await;
        }
        if let Some(work) = self.work.take() {
            let _ = work.await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Requests to be answered one by one, for programs that poll.
#[derive(Debug)]
pub struct Inbox {
    rx: mpsc::Receiver<Incoming>,
    stop: watch::Sender<bool>,
}

impl Inbox {
    /// The next request; none once the engine is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.rx.recv().await
    }

    /// The next request if one is here now.
    pub fn try_next(&mut self) -> Option<Incoming> {
        self.rx.try_recv().ok()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// A request being made: await it for the reply.
#[derive(Debug)]
#[must_use = "a call does nothing until it is awaited or started"]
pub struct Call {
    engine: Arc<Engine>,
    to: Destination,
    payload: Payload,
    kind: String,
    timeout: Duration,
    flags: i32,
    headers: Headers,
    parts: Option<mpsc::Sender<Part>>,
    /// Where it goes when that is known already.
    lane: Option<wire::Lane>,
}

impl Call {
    /// The type of the request, at most 100 bytes.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// The deadline, from now: 1 ms to 7 days.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// It may run twice: when its responder dies it goes to another one, instead of ending as lost.
    pub fn idempotent(mut self) -> Self {
        self.flags |= 4;
        self
    }

    /// Waits for a responder to come, instead of failing at once where there is none.
    pub fn wait_for_responder(mut self) -> Self {
        self.flags &= !32;
        self
    }

    /// For [`Requests::send`]: waits until somebody took it.
    pub fn confirm(mut self) -> Self {
        self.flags |= 16;
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Where parts of the reply go; those that do not fit into the channel are dropped.
    pub fn parts(mut self, parts: mpsc::Sender<Part>) -> Self {
        self.parts = Some(parts);
        self
    }

    /// Sends it and returns a handle, so that other things can be done meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an argument out of its limits; what the database reports about the channel.
    pub async fn start(self) -> Result<Pending> {
        let (request, engine, pending) = self.prepare().await?;
        engine.caller.enqueue(request).await?;
        Ok(pending)
    }

    /// Sends it in your own transaction: it goes out with the commit. Await the handle after that.
    ///
    /// The deadline counts from this call. A one-way request is done with then: dropping the handle cancels nothing.
    ///
    /// # Errors
    /// As [`Call::start`]; [`ErrorKind::NoResponder`] at once.
    pub async fn start_on(self, executor: &mut impl Executor) -> Result<Pending> {
        let to = self.to.name();
        let (request, engine, pending) = self.prepare().await?;
        let session = engine.listener.link().await?.session;
        let id = executor
            .scalar(
                wire::WRITE_ON[request.ring as usize],
                &[
                    Param::I32(session),
                    Param::I64(request.corr),
                    Param::I32(request.lane),
                    Param::Text(Some(&request.kind)),
                    Param::I32(request.timeout_ms),
                    Param::I32(request.flags),
                    Param::Bytes(Some(&request.payload)),
                    Param::Text(request.headers.as_deref()),
                ],
            )
            .await?;
        if id == 0 {
            return Err(caller::no_responder(&to));
        }
        let answered = request.flags & 8 == 0 || request.flags & 16 != 0;
        engine.caller.written_elsewhere(request.corr, id, session, answered);
        Ok(pending)
    }

    async fn prepare(self) -> Result<(Outgoing, Arc<Engine>, Pending)> {
        if self.timeout < Duration::from_millis(1) || self.timeout > LONGEST {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("request timeout must be between 1 ms and 7 days, got {:?}", self.timeout),
            ));
        }
        if self.kind.len() > 100 || self.kind.contains(char::is_control) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "request type must be at most 100 bytes without control characters, got {}",
                    self.kind.len()
                ),
            ));
        }
        let deadline = Instant::now() + self.timeout;
        let headers = encode_headers(&self.headers)?;
        let destination = self.to.name();
        let lane = match self.lane {
            Some(known) => known,
            None => tokio::time::timeout_at(deadline, self.engine.caller.lane(&destination))
                .await
                .map_err(|_| caller::timed_out())??,
        };
        if self.payload.bytes().len() > lane.most {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "payload for \"{destination}\" must be at most {} bytes, got {}",
                    lane.most,
                    self.payload.bytes().len()
                ),
            )
            .with_code("TL004"));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let summary =
            Summary { id: 0, destination, kind: self.kind.clone(), deadline: SystemTime::now() + left };
        let (corr, done) = self.engine.caller.register(lane.ring, summary, self.parts);
        let request = Outgoing {
            ring: lane.ring,
            corr,
            lane: lane.number,
            kind: self.kind,
            timeout_ms: i32::try_from(left.as_millis()).unwrap_or(i32::MAX).max(1),
            flags: self.flags | i32::from(self.payload.content().code()),
            payload: self.payload.into_bytes(),
            headers,
        };
        let pending = Pending { caller: self.engine.caller.clone(), corr, deadline, done: Some(done) };
        Ok((request, self.engine, pending))
    }
}

impl IntoFuture for Call {
    type Output = Result<Reply>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Reply>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let span = tracing::debug_span!(
            "request",
            otel.kind = "client",
            messaging.system = "trunkline",
            messaging.operation.type = "send",
            messaging.destination.name = %self.to.name()
        );
        Box::pin(async move { self.start().await?.wait().await }.instrument(span))
    }
}

/// A call in flight. Dropping it cancels the request, and its handler is told.
#[derive(Debug)]
pub struct Pending {
    caller: Arc<Caller>,
    corr: i64,
    deadline: Instant,
    done: Option<oneshot::Receiver<Result<Reply>>>,
}

impl Pending {
    /// Waits for the outcome: by the deadline, plus 100 ms at most.
    ///
    /// # Errors
    /// One definite outcome other than a reply: [`ErrorKind::Remote`] with the responder's code,
    /// [`ErrorKind::NoResponder`], [`ErrorKind::TimedOut`], [`ErrorKind::Cancelled`] or [`ErrorKind::Lost`].
    pub async fn wait(mut self) -> Result<Reply> {
        let Some(done) = self.done.as_mut() else { return Err(caller::lost()) };
        let outcome = self.caller.wait(self.corr, done, self.deadline).await;
        self.done = None;
        outcome
    }

    /// Cancels it and waits for the outcome, which is a reply if that was first.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`], or the outcome that came first.
    pub async fn cancel(mut self) -> Result<Reply> {
        let Some(done) = self.done.as_mut() else { return Err(caller::lost()) };
        self.caller.end(self.corr, 3);
        let outcome = self.caller.wait(self.corr, done, Instant::now() + Duration::from_secs(1)).await;
        self.done = None;
        outcome
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.done.is_some() {
            self.caller.end(self.corr, 3);
        }
    }
}
