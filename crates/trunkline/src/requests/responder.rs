//! The responder's side: taking requests from the lanes that this process serves, and answering them.
//!
//! ```text
//!            take pump (one a lane)              handler                 reply pump
//!  bell ──▶ take ≤ free slots ──▶ [incoming] ──────────▶ answer ──────────────────────▶ accepted
//!                                    │ deadline, or ended by somebody else          └──▶ refused: TL001, counted
//!                                    ▼
//!                                cancelled: the handler sees it, its answer will be refused
//! ```
//! Guarantees: no more is taken than there are free slots; no transaction is open while a handler runs; a panic is
//! an error reply; a stale answer changes nothing. What if it dies here: see `_request_abandon_e`.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::{Instant, sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    caller::Counters,
    payload::{Content, Headers, Payload, decode_headers, encode_headers},
    wire::{self, Claim, Cursor, Ending, Ring, Segment, Taken},
};
use crate::{
    Error, ErrorKind, Result,
    executor::{Executor, Param},
    listener::{Bell, Link, Listener, POLL, lock, turned},
};

const MOST: i32 = 128;
const BATCH: usize = 512;
/// How often handlers' requests are looked up for having ended.
const WATCH: Duration = Duration::from_millis(250);

/// What a responder's handler fails with: a code and a text, sent to the caller as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A short word for programs, at most 100 bytes.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl Failure {
    /// A failure with a code and a text.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(e: E) -> Self {
        Self::new("error", e.to_string())
    }
}

/// An answer on its way: what to write, and whom to tell whether it was accepted.
#[derive(Debug)]
struct Answer {
    caller: i32,
    ending: Ending,
    accepted: oneshot::Sender<Result<()>>,
}

impl Answer {
    fn segment(&self) -> Segment {
        Segment::of(self.ending.claim.take)
    }
}

/// A request that this process has accepted and is to answer. Dropping it unanswered fails it with code `dropped`.
#[derive(Debug)]
pub struct Incoming {
    /// The request's id.
    pub id: i64,
    /// Its type.
    pub kind: String,
    /// What was asked.
    pub payload: Payload,
    /// Its headers; `traceparent` among them when the caller traces.
    pub headers: Headers,
    /// 1, or more when an earlier responder died.
    pub attempt: i32,
    /// True when no reply is expected.
    pub one_way: bool,
    deadline: Instant,
    claim: Claim,
    caller: i32,
    ring: Ring,
    parts: i32,
    answers: Option<mpsc::Sender<Answer>>,
    ended: watch::Receiver<bool>,
    held: Arc<Mutex<HashMap<i64, Held>>>,
    counters: Arc<Counters>,
    _slot: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Held {
    attempt: i32,
    caller: i32,
    ring: Ring,
    since: Instant,
    kind: String,
    ended: watch::Sender<bool>,
}

impl Incoming {
    /// The time left to answer.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Completes when there is no use in going on: the caller cancelled or is gone, the deadline passed, or the request
    /// was handed to another responder. Cancel-safe.
    pub async fn cancelled(&self) {
        let mut ended = self.ended.clone();
        tokio::select! {
            _ = ended.wait_for(|e| *e) => {}
            () = tokio::time::sleep_until(self.deadline) => {}
        }
    }

    /// Its id, if it ends before it is answered; completes when either is so.
    pub(super) fn fate(&self) -> impl Future<Output = Option<i64>> + Send + 'static {
        let (id, deadline, held) = (self.id, self.deadline, self.held.clone());
        let mut ended = self.ended.clone();
        async move {
            tokio::select! {
                told = ended.wait_for(|e| *e) => told.is_ok().then_some(id),
                () = tokio::time::sleep_until(deadline) => lock(&held).contains_key(&id).then_some(id),
            }
        }
    }

    /// Answers. Returns once the reply is committed.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when the request ended meanwhile; nothing was changed then.
    pub async fn reply(self, payload: impl Into<Payload>) -> Result<()> {
        self.reply_with(payload, &Headers::new()).await
    }

    /// Answers, with headers.
    ///
    /// # Errors
    /// As [`Incoming::reply`]; [`ErrorKind::Invalid`] for headers out of their limits.
    pub async fn reply_with(mut self, payload: impl Into<Payload>, headers: &Headers) -> Result<()> {
        let status = if self.one_way { 8 } else { 0 };
        let headers = encode_headers(headers)?;
        self.settle(0, status, None, payload.into(), headers).await
    }

    /// Answers with an error of your own.
    ///
    /// # Errors
    /// As [`Incoming::reply`].
    pub async fn fail(mut self, failure: Failure) -> Result<()> {
        self.settle(0, 1, Some(cut(failure.code)), failure.message.into(), None).await
    }

    /// Sends a part of the reply, or progress, ahead of the reply itself.
    ///
    /// # Errors
    /// As [`Incoming::reply`].
    pub async fn part(&mut self, payload: impl Into<Payload>) -> Result<()> {
        self.parts += 1;
        self.settle(self.parts, 9, None, payload.into(), None).await
    }

    /// Answers in your own transaction, together with your writes: the reply goes out with its commit. Commit before the
    /// deadline: a caller that cannot be told by then ends `timed out`. After a rollback nobody has answered, and the
    /// request ends at its deadline.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when the request ended meanwhile: roll back, your writes belong to nobody.
    pub async fn reply_on(mut self, executor: &mut impl Executor, payload: impl Into<Payload>) -> Result<()> {
        let payload = payload.into();
        let content = i32::from(payload.content().code());
        let accepted = executor
            .scalar(
                wire::REPLY_ON[self.ring as usize],
                &[
                    Param::I64(self.claim.take),
                    Param::I64(self.claim.token),
                    Param::I32(self.claim.slot),
                    Param::I32(content),
                    Param::Bytes(Some(payload.bytes())),
                ],
            )
            .await?;
        self.answers = None;
        if accepted != 0 { Ok(()) } else { Err(self.stale()) }
    }

    async fn settle(
        &mut self,
        part: i32,
        status: i16,
        code: Option<String>,
        payload: Payload,
        headers: Option<String>,
    ) -> Result<()> {
        let Some(answers) = self.answers.clone() else { return Err(self.stale()) };
        if part == 0 {
            self.answers = None;
        }
        let (accepted, rx) = oneshot::channel();
        let content = payload.content().code();
        let ending =
            Ending { claim: self.claim, part, status, content, code, payload: payload.into_bytes(), headers };
        answers.send(Answer { caller: self.caller, ending, accepted }).await.map_err(|_| gone())?;
        rx.await.map_err(|_| gone())?
    }

    fn stale(&self) -> Error {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        stale(self.id)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        lock(&self.held).remove(&self.id);
        let Some(answers) = self.answers.take() else { return };
        let (status, code) = if self.one_way { (8, None) } else { (1, Some("dropped".to_owned())) };
        let ending = Ending {
            claim: self.claim,
            part: 0,
            status,
            content: 1,
            code,
            payload: b"the handler gave no answer".to_vec(),
            headers: None,
        };
        let _ = answers.try_send(Answer { caller: self.caller, ending, accepted: oneshot::channel().0 });
    }
}

fn stale(id: i64) -> Error {
    Error::new(
        ErrorKind::Stale,
        format!("request {id} is no longer yours: it ended, expired, or was handed on"),
    )
    .with_code("TL001")
}

fn gone() -> Error {
    Error::new(ErrorKind::Unreachable, "trunkline was closed")
}

fn cut(mut code: String) -> String {
    let mut end = code.len().min(100);
    while !code.is_char_boundary(end) {
        end -= 1;
    }
    code.truncate(end);
    code
}

/// The responder's half of the engine.
#[derive(Debug)]
pub(super) struct Responder {
    listener: Arc<Listener>,
    answers: mpsc::Sender<Answer>,
    held: Arc<Mutex<HashMap<i64, Held>>>,
    counters: Arc<Counters>,
}

/// What is served: a channel, or (none) this session's own address.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) channel: Option<String>,
    pub(super) types: Option<Vec<String>>,
    pub(super) concurrency: usize,
}

impl Responder {
    pub(super) fn start(listener: Arc<Listener>, counters: Arc<Counters>) -> Arc<Self> {
        let (answers, queue) = mpsc::channel(4096);
        let responder =
            Arc::new(Self { listener: listener.clone(), answers, held: Arc::default(), counters });
        tokio::spawn(reply_pump(listener.clone(), queue, responder.counters.clone()));
        tokio::spawn(watch_pump(listener, responder.held.clone(), responder.counters.clone()));
        responder
    }

    /// Summaries of what this process has accepted and not answered yet: id, type, age.
    pub(super) fn incoming(&self) -> Vec<(i64, String, Duration)> {
        let mut all: Vec<_> =
            lock(&self.held).iter().map(|(id, h)| (*id, h.kind.clone(), h.since.elapsed())).collect();
        all.sort_by_key(|i| i.0);
        all
    }

    /// Takes requests for a service and hands them to `out` until that is closed or `stop` turns true.
    ///
    /// Two lanes: the channel's, which all its responders share, and this responder's own, where `gather` asks it.
    pub(super) async fn pump(
        &self,
        service: Service,
        out: mpsc::Sender<Incoming>,
        mut stop: watch::Receiver<bool>,
    ) {
        let slots = Arc::new(Semaphore::new(service.concurrency));
        let mut lanes: Option<(u64, Vec<Lane>)> = None;
        while !*stop.borrow() && !out.is_closed() {
            let link = tokio::select! {
                link = self.listener.link() => match link { Ok(l) => l, Err(_) => return },
                () = turned(&mut stop) => break,
            };
            if lanes.as_ref().is_none_or(|(generation, _)| *generation != link.generation) {
                let own = lanes.as_ref().and_then(|(_, l)| l.get(1)).map(|l| l.number);
                match self.register(&link, &service, own).await {
                    Ok(found) => lanes = Some((link.generation, found)),
                    Err(e) => {
                        warn!(channel = ?service.channel, error = %e, "cannot serve; trying again");
                        let _ = timeout(POLL, turned(&mut stop)).await;
                        continue;
                    }
                }
            }
            let Some((_, all)) = lanes.as_mut() else { continue };
            let Some(lane) = all.iter_mut().rev().find(|l| l.look.is_some()) else {
                tokio::select! {
                    () = any_rung(all) => {}
                    () = sleep(POLL) => all.iter_mut().for_each(|l| l.look = Some(Look::Current)),
                    () = turned(&mut stop) => {}
                    () = out.closed() => {}
                }
                continue;
            };
            let first = tokio::select! {
                biased;
                () = turned(&mut stop) => break,
                () = out.closed() => break,
                slot = slots.clone().acquire_owned() => match slot { Ok(s) => s, Err(_) => return },
            };
            let free = i32::try_from(slots.available_permits()).unwrap_or(MOST).saturating_add(1).min(MOST);
            let segment = lane.segment(&link);
            let cursor = &mut lane.cursors[segment.index()];
            match wire::take(&link, segment, lane.number, service.types.as_deref(), free, cursor).await {
                Ok((more, taken)) => {
                    lane.looked(more, taken.is_empty());
                    let ring = lane.ring;
                    // It may have ended or put aside what this same process waits for: nobody notifies itself.
                    if service.types.is_some() && more {
                        self.listener.ring(lane.number & 63);
                    }
                    if service.types.is_some() || taken.iter().any(|t| t.flags & 24 == 24) {
                        self.listener.ring(64 + link.session);
                    }
                    self.hand_out(taken, ring, &slots, first, &out).await;
                }
                Err(e) => {
                    debug!(error = %e, "cannot take");
                    lanes = None;
                    let _ = timeout(Duration::from_millis(100), turned(&mut stop)).await;
                }
            }
        }
        if let (Some((_, lanes)), Some(link)) = (lanes, self.listener.current())
            && let Some(own) = lanes.get(1)
        {
            let _ = timeout(POLL, wire::unserve(&link, own.number)).await;
        }
    }

    async fn register(&self, link: &Link, service: &Service, own: Option<i32>) -> Result<Vec<Lane>> {
        let lane = |number: i32, ring| Lane {
            number,
            ring,
            look: Some(Look::Current),
            looks: 0,
            cursors: Default::default(),
            bell: self.listener.door(number & 63),
        };
        match &service.channel {
            Some(channel) => {
                let (number, ring, own) = wire::serve(link, channel, service.types.as_deref(), own).await?;
                Ok(vec![lane(number, ring), lane(own, Ring::Ephemeral)])
            }
            None => Ok(vec![lane(-link.session, Ring::Ephemeral)]),
        }
    }

    async fn hand_out(
        &self,
        taken: Vec<Taken>,
        ring: Ring,
        slots: &Arc<Semaphore>,
        first: OwnedSemaphorePermit,
        out: &mpsc::Sender<Incoming>,
    ) {
        let mut first = Some(first);
        for t in taken {
            let slot = match first.take() {
                Some(s) => s,
                None => match slots.clone().acquire_owned().await {
                    Ok(s) => s,
                    Err(_) => return,
                },
            };
            let (ended_tx, ended) = watch::channel(false);
            let now = Instant::now();
            let held = Held {
                attempt: t.attempt,
                caller: t.caller,
                ring,
                since: now,
                kind: t.kind.clone(),
                ended: ended_tx,
            };
            lock(&self.held).insert(t.id, held);
            self.counters.served.fetch_add(1, Ordering::Relaxed);
            let incoming = Incoming {
                id: t.id,
                kind: t.kind,
                payload: Payload::new(Content::of(t.flags), t.payload),
                headers: decode_headers(t.headers.as_deref()),
                attempt: t.attempt,
                one_way: t.flags & 8 != 0,
                deadline: now + Duration::from_millis(u64::try_from(t.left_ms).unwrap_or(0)),
                claim: t.claim,
                caller: t.caller,
                ring,
                parts: 0,
                answers: Some(self.answers.clone()),
                ended,
                held: self.held.clone(),
                counters: self.counters.clone(),
                _slot: slot,
            };
            // With nobody there any more each is dropped, which answers it.
            let _ = out.send(incoming).await;
        }
    }
}

/// Which of a lane's segments to look into next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// The one that writers fill, as far as we know.
    Current,
    /// The other one: what was written before the ring turned, or by somebody who has not heard of it.
    Other,
}

/// A lane that is served: whether to look into it, and the bell that says so.
struct Lane {
    number: i32,
    ring: Ring,
    look: Option<Look>,
    /// At the current segment, since the other one was looked at.
    looks: u32,
    cursors: [Cursor; 4],
    bell: Bell,
}

impl Lane {
    /// Looks at the current segment before the other one is due, however busy that is.
    const PATIENCE: u32 = 64;

    fn segment(&self, link: &Link) -> Segment {
        let current = self.ring.current(link);
        if self.at_other() { current.other() } else { current }
    }

    fn at_other(&self) -> bool {
        self.look == Some(Look::Other) || self.looks >= Self::PATIENCE
    }

    /// Where to look next, after a look that brought nothing, or less or more than all there is. A bell that found nothing
    /// in the current segment was for the other one.
    fn looked(&mut self, more: bool, empty: bool) {
        let due = self.looks >= Self::PATIENCE;
        let other = self.at_other();
        self.looks = if other { 0 } else { self.looks + 1 };
        self.look = match (other, empty) {
            (true, true) if !due => None,
            (true, _) => Some(Look::Current),
            (false, _) if more => Some(Look::Current),
            (false, true) => Some(Look::Other),
            (false, false) => None,
        };
    }
}

/// Waits until a lane's bell rings, and notes which.
async fn any_rung(lanes: &mut [Lane]) {
    let rings = lanes.iter_mut().map(|l| {
        Box::pin(async {
            l.bell.rung().await;
            l.look = Some(Look::Current);
        })
    });
    futures_util::future::select_all(rings).await;
}

/// Runs a handler for each request of a service; panics are error replies.
pub(super) async fn handle<H, F, P>(mut requests: mpsc::Receiver<Incoming>, handler: H)
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = std::result::Result<P, Failure>> + Send,
    P: Into<Payload> + Send,
{
    let handler = Arc::new(handler);
    let mut running = tokio::task::JoinSet::new();
    while let Some(incoming) = requests.recv().await {
        while running.try_join_next().is_some() {}
        let handler = handler.clone();
        running.spawn(async move {
            let request = Request::of(&incoming);
            let work = AssertUnwindSafe(async { handler(request).await }).catch_unwind();
            let result = tokio::select! {
                result = work => result,
                () = incoming.cancelled() => return debug!(id = incoming.id, "given up: the request ended"),
            };
            let answered = match result {
                Ok(Ok(payload)) => incoming.reply(payload).await,
                Ok(Err(failure)) => incoming.fail(failure).await,
                Err(_) => incoming.fail(Failure::new("panic", "the handler panicked")).await,
            };
            if let Err(e) = answered {
                debug!(error = %e, "reply refused");
            }
        });
    }
    while running.join_next().await.is_some() {}
}

/// What a handler gets to see of a request; its answer is what the handler returns.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// The request's id.
    pub id: i64,
    /// Its type.
    pub kind: String,
    /// What was asked.
    pub payload: Payload,
    /// Its headers.
    pub headers: Headers,
    /// 1, or more when an earlier responder died.
    pub attempt: i32,
    /// When the caller stops waiting.
    pub deadline: Instant,
}

impl Request {
    fn of(incoming: &Incoming) -> Self {
        Self {
            id: incoming.id,
            kind: incoming.kind.clone(),
            payload: incoming.payload.clone(),
            headers: incoming.headers.clone(),
            attempt: incoming.attempt,
            deadline: incoming.deadline,
        }
    }
}

/// One reply statement in flight: whatever is answered meanwhile goes into the next.
async fn reply_pump(listener: Arc<Listener>, mut queue: mpsc::Receiver<Answer>, counters: Arc<Counters>) {
    let mut batch: Vec<Answer> = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        for segment in Segment::ALL {
            let group: Vec<Answer> = batch.extract_if(.., |a| a.segment() == segment).collect();
            if !group.is_empty() {
                answer_group(&listener, segment, group, &counters).await;
            }
        }
    }
}

/// An answer that must wait for somebody's open transaction on the same request; until that ends, or the deadline.
fn answer_later(
    listener: Arc<Listener>,
    segment: Segment,
    answer: Answer,
    counters: Arc<Counters>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        sleep(Duration::from_millis(250)).await;
        answer_group(&listener, segment, vec![answer], &counters).await;
    })
}

/// Writes answers, and tells whoever gave them. A connection that ends meanwhile is not their end: they are written
/// again through the next one. One that had been committed is then refused, though it is the caller's outcome.
async fn answer_group(
    listener: &Arc<Listener>,
    segment: Segment,
    mut group: Vec<Answer>,
    counters: &Arc<Counters>,
) {
    let endings: Vec<&Ending> = group.iter().map(|a| &a.ending).collect();
    let mut callers: Vec<i32> = group.iter().map(|a| a.caller).filter(|c| *c != 0).collect();
    callers.sort_unstable();
    callers.dedup();
    let mut refused = Err(gone());
    for _ in 0..100 {
        let Ok(link) = listener.link().await else { break };
        refused = wire::reply(&link, segment, &callers, &endings).await;
        if group.iter().any(|a| a.caller == link.session) {
            listener.ring(64 + link.session); // nobody notifies itself
        }
        match &refused {
            Err(e) if e.kind() == ErrorKind::Unreachable => sleep(Duration::from_millis(50)).await,
            _ => break,
        }
    }
    match refused {
        Ok(refused) => {
            counters.refused.fetch_add(refused.len() as u64, Ordering::Relaxed);
            for (answer, position) in group.into_iter().zip(1..) {
                let verdict =
                    if refused.contains(&position) { Err(stale(answer.ending.claim.take)) } else { Ok(()) };
                let _ = answer.accepted.send(verdict);
            }
        }
        // One bad answer must not take its neighbours with it.
        Err(e) if group.len() > 1 && e.kind() != ErrorKind::Unreachable => {
            for answer in group {
                Box::pin(answer_group(listener, segment, vec![answer], counters)).await;
            }
        }
        Err(e) if e.code() == Some("55P03") => {
            if let Some(answer) = group.pop() {
                tokio::spawn(answer_later(listener.clone(), segment, answer, counters.clone()));
            }
        }
        Err(e) => {
            for answer in group {
                let again = Error::new(e.kind(), e.to_string());
                let _ = answer.accepted.send(Err(match e.code() {
                    Some(code) => again.with_code(code),
                    None => again,
                }));
            }
        }
    }
}

/// Tells handlers whose request ended; and buries dead sessions, so that their work goes on without a daemon.
async fn watch_pump(listener: Arc<Listener>, held: Arc<Mutex<HashMap<i64, Held>>>, counters: Arc<Counters>) {
    let mut round = 0_u32;
    while !*listener.closing().borrow() {
        sleep(WATCH).await;
        let Some(link) = listener.current() else { continue };
        round = round.wrapping_add(1);
        if round.is_multiple_of(4) {
            match wire::reap(&link).await {
                Ok(0) => {}
                Ok(_) => listener.ring_all(), // our own session's rings do not notify us
                Err(e) => debug!(error = %e, "cannot look for dead sessions"),
            }
        }
        for ring in Ring::BOTH {
            let old: Vec<(i64, i32, i32)> = lock(&held)
                .iter()
                .filter(|(_, h)| h.ring == ring && h.since.elapsed() > WATCH)
                .map(|(id, h)| (*id, h.attempt, h.caller))
                .collect();
            if old.is_empty() {
                continue;
            }
            let Ok(ended) = wire::watch(&link, ring, &old).await else { continue };
            let all = lock(&held);
            for h in ended.iter().filter_map(|id| all.get(id)) {
                counters.expired.fetch_add(1, Ordering::Relaxed);
                h.ended.send_replace(true);
            }
        }
    }
}
