//! A request being made, and the handle of one that was sent.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    Engine,
    caller::{self, Caller, Summary},
    payload::{Destination, Headers, Part, Payload, Reply, check_size, check_timeout, encode_headers},
    wire::{self, Outgoing},
};
use crate::{
    Error, ErrorKind, Result,
    executor::{Executor, Param},
    listener::closed,
    trace::Sending,
};

/// How long a caller who cancels waits for the database's word.
const CANCEL: Duration = Duration::from_secs(1);

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
    pub(super) fn new(engine: Arc<Engine>, to: Destination, payload: Payload) -> Self {
        Self {
            engine,
            to,
            payload,
            kind: String::new(),
            timeout: Duration::from_secs(30),
            flags: 32,
            headers: Headers::new(),
            parts: None,
            lane: None,
        }
    }

    pub(super) fn one_way(mut self) -> Self {
        self.flags |= 8;
        self
    }

    pub(super) fn at_lane(mut self, lane: wire::Lane) -> Self {
        self.lane = Some(lane);
        self
    }

    /// Where it goes, and of which type it is.
    pub(super) fn about(&self) -> (String, String) {
        (self.to.name(), self.kind.clone())
    }

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

    /// For [`super::Requests::send`]: waits until somebody took it.
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

    /// Sends it and returns a handle, so that other things can be done meanwhile. It is written a moment later: what the
    /// database says to that, such as [`ErrorKind::NoResponder`], is the handle's outcome.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an argument out of its limits; what the database reports about the channel.
    pub async fn start(self) -> Result<Pending> {
        let (request, engine, mut pending) = self.prepare().await?;
        engine.caller.enqueue(request).await?;
        pending.sent = true;
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
        let (request, engine, mut pending) = self.prepare().await?;
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
        pending.sent = true;
        Ok(pending)
    }

    async fn prepare(mut self) -> Result<(Outgoing, Arc<Engine>, Pending)> {
        Sending::plain().mark(&mut self.headers);
        check_timeout(self.timeout)?;
        if self.kind.len() > 100 || self.kind.contains(char::is_control) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "request type must be at most 100 bytes without control characters, got {}",
                    self.kind.len()
                ),
            ));
        }
        if *self.engine.listener.closing().borrow() {
            return Err(closed());
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
        check_size(&destination, self.payload.bytes(), lane.most)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let summary =
            Summary { id: 0, destination, kind: self.kind.clone(), deadline: SystemTime::now() + left };
        let (corr, id, done) = self.engine.caller.register(lane.ring, summary, self.parts);
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
        let pending =
            Pending { caller: self.engine.caller.clone(), corr, id, deadline, done: Some(done), sent: false };
        Ok((request, self.engine, pending))
    }
}

impl IntoFuture for Call {
    type Output = Result<Reply>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Reply>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let (to, mut call) = (self.to.name(), self);
        let sending =
            if call.flags & 8 == 0 { Sending::asking("call", &to) } else { Sending::new("send", &to) };
        sending.mark(&mut call.headers);
        Box::pin(async move { sending.run(async { call.start().await?.wait().await }).await })
    }
}

/// A call in flight. Dropping it cancels the request, and its handler is told.
#[derive(Debug)]
pub struct Pending {
    caller: Arc<Caller>,
    corr: i64,
    id: Arc<OnceLock<i64>>,
    deadline: Instant,
    done: Option<oneshot::Receiver<Result<Reply>>>,
    /// Queued, or written in a transaction of the application's.
    sent: bool,
}

impl Pending {
    /// The request's id, once it was written.
    #[must_use]
    pub fn id(&self) -> Option<i64> {
        self.id.get().copied()
    }

    /// Waits for the outcome: by the deadline, plus 100 ms at most.
    ///
    /// # Errors
    /// One definite outcome other than a reply: [`ErrorKind::Remote`] with the responder's code,
    /// [`ErrorKind::NoResponder`], [`ErrorKind::TimedOut`], [`ErrorKind::Cancelled`] or [`ErrorKind::Lost`].
    pub async fn wait(mut self) -> Result<Reply> {
        let Some(done) = self.done.as_mut() else { return Err(caller::lost()) };
        let outcome = self.caller.wait(self.corr, done, self.deadline).await;
        self.done = None;
        outcome.map_err(|e| e.of_request(self.id()))
    }

    /// Cancels it and waits for the outcome, which is a reply if that was first; a second at most, and not past
    /// its deadline. It goes on being cancelled where the database could not be asked by then.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`], or the outcome that came first; [`ErrorKind::TimedOut`] when the database has not said.
    pub async fn cancel(mut self) -> Result<Reply> {
        let Some(done) = self.done.as_mut() else { return Err(caller::lost()) };
        self.caller.end(self.corr, 3);
        // Once more after it: one that was frozen meanwhile has yet to read what came.
        let end = self.deadline.min(Instant::now() + CANCEL);
        let outcome = match tokio::time::timeout_at(end, &mut *done).await {
            Err(_) => tokio::time::timeout(caller::GRACE, done).await,
            answered => answered,
        };
        self.done = None;
        let outcome = match outcome {
            Ok(answer) => answer.unwrap_or_else(|_| Err(caller::lost())),
            Err(_) => {
                Err(Error::new(ErrorKind::TimedOut, "the database has not confirmed the cancelling yet"))
            }
        };
        outcome.map_err(|e| e.of_request(self.id()))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        match (&self.done, self.sent) {
            (Some(_), true) => self.caller.end(self.corr, 3),
            (Some(_), false) => self.caller.forget(self.corr),
            (None, _) => {}
        }
    }
}
