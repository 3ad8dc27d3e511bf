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
//! an error reply; a stale answer changes nothing. What if it dies here: see `_request_abandon_e0`.

mod answers;
mod incoming;
mod lane;
mod watcher;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tracing::{Instrument as _, debug, warn};

pub use self::incoming::{Failure, Incoming, Request};
use self::{
    answers::{Answer, reply_pump},
    incoming::Held,
    lane::{Lane, Look, any_rung},
    watcher::watch_pump,
};
use super::{
    caller::Counters,
    payload::{Content, Payload, decode_headers},
    serve::State,
    wire::{self, Debts, Ring, Taken, Wanted},
};
use crate::{
    ErrorKind, Result,
    listener::{Link, Listener, POLL, lock, turned},
    trace,
};

const MOST: i32 = 128;

/// The responder's half of the engine.
#[derive(Debug)]
pub(super) struct Responder {
    listener: Arc<Listener>,
    answers: mpsc::UnboundedSender<Answer>,
    held: Arc<Mutex<HashMap<i64, Held>>>,
    counters: Arc<Counters>,
}

/// What is served: a channel, this session's own address, or both; and how many requests of it.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) channel: Option<String>,
    pub(super) types: Option<Vec<String>>,
    pub(super) concurrency: usize,
    pub(super) address: bool,
    pub(super) most: u64,
}

/// Where a service stands: its lanes, on which connection it is registered and holds its lane's key, and what it owes.
#[derive(Default)]
struct Place {
    lanes: Vec<Lane>,
    registered: Option<u64>,
    held: Option<u64>,
    debts: Debts,
}

impl Responder {
    pub(super) fn start(listener: Arc<Listener>, counters: Arc<Counters>) -> Arc<Self> {
        let (answers, queue) = mpsc::unbounded_channel();
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

    /// Takes requests for a service and hands them to `out` until that is closed, `stop` turns true, it has had its number, or
    /// what keeps it from being registered can never heal; `state` tells.
    pub(super) async fn pump(
        &self,
        service: Service,
        out: mpsc::Sender<Incoming>,
        state: watch::Sender<State>,
        mut stop: watch::Receiver<bool>,
    ) {
        let slots = Arc::new(Semaphore::new(service.concurrency));
        let mut at = Place::default();
        let mut left = service.most;
        let _busy = self.listener.busy();
        while left > 0 && !*stop.borrow() && !out.is_closed() {
            let link = tokio::select! {
                link = self.listener.link() => match link {
                    Ok(l) => l,
                    Err(closed) => return drop(state.send_replace(State::Over(Err(closed)))),
                },
                () = turned(&mut stop) => break,
            };
            if at.registered != Some(link.generation) {
                if let Err(e) = self.register(&link, &service, &mut at).await {
                    if for_good(e.kind()) {
                        warn!(channel = ?service.channel, error = %e, "cannot serve");
                        state.send_replace(State::Over(Err(e)));
                        break;
                    }
                    warn!(channel = ?service.channel, error = %e, "cannot serve; trying again");
                    let _ = timeout(POLL, turned(&mut stop)).await;
                    continue;
                }
                state.send_replace(State::Here);
            }
            at.debts.pay(&link, service.types.as_deref()).await;
            let Some(lane) = at.lanes.iter_mut().rev().find(|l| l.look.is_some()) else {
                idle(&mut at.lanes, &mut stop, &out).await;
                continue;
            };
            let first = tokio::select! {
                biased;
                () = turned(&mut stop) => break,
                () = out.closed() => break,
                slot = slots.clone().acquire_owned() => match slot { Ok(s) => s, Err(_) => return },
            };
            let most = left.min(slots.available_permits() as u64 + 1);
            let most = i32::try_from(most).unwrap_or(MOST).min(MOST);
            lane.begin();
            let segment = lane.segment(&link);
            let wanted = Wanted { segment, lane: lane.number, types: service.types.as_deref(), most };
            match wire::take(&link, wanted, &mut lane.cursors[segment.index()], &mut at.debts).await {
                Ok((more, taken)) => {
                    lane.looked(more, taken.is_empty());
                    left = left.saturating_sub(taken.len() as u64);
                    let ring = lane.ring;
                    if service.types.is_some() || taken.iter().any(|t| t.flags & 24 == 24) {
                        self.ring_ourselves(link.session, more.then_some(lane.number));
                    }
                    self.hand_out(taken, ring, &slots, first, &out).await;
                }
                Err(e) => {
                    debug!(error = %e, "cannot take");
                    at.registered = None;
                    let _ = timeout(Duration::from_millis(100), turned(&mut stop)).await;
                }
            }
        }
        if left == 0 {
            state.send_replace(State::Over(Ok(())));
        }
        self.leave(at, &service).await;
    }

    /// Is found no more, and owes nothing.
    async fn leave(&self, mut at: Place, service: &Service) {
        if let (Some(own), Some(link)) =
            (at.lanes.get(1).filter(|_| service.channel.is_some()), self.listener.current())
        {
            at.debts.pay(&link, service.types.as_deref()).await;
            let held = at.held == Some(link.generation);
            let _ = timeout(POLL, wire::unserve(&link, own.number, held)).await;
        }
    }

    /// A take may have ended or passed on what this same process waits for, and nobody notifies himself.
    fn ring_ourselves(&self, session: i32, lane: Option<i32>) {
        self.listener.ring(64 + session);
        if let Some(lane) = lane {
            self.listener.ring(lane & 63);
        }
    }

    /// A channel has two lanes: one that all its responders share, and this responder's own, where `gather` asks it. An address
    /// is one more.
    async fn register(&self, link: &Link, service: &Service, at: &mut Place) -> Result<()> {
        self.listener.awake().await;
        let lane = |number: i32, ring| Lane::new(number, ring, self.listener.door(number & 63));
        at.lanes = match &service.channel {
            Some(channel) => {
                let own = at.lanes.get(1).map(|l| l.number);
                let (number, ring, own) = wire::serve(link, channel, service.types.as_deref(), own).await?;
                if !link.pooled && at.held != Some(link.generation) && wire::hold(link, number).await? {
                    at.held = Some(link.generation);
                }
                vec![lane(number, ring), lane(own, Ring::Ephemeral)]
            }
            None => Vec::new(),
        };
        if service.address {
            at.lanes.push(lane(-link.session, Ring::Ephemeral));
        }
        at.registered = Some(link.generation);
        Ok(())
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
                part_sent: None,
                slot: Some(slot),
            };
            // With nobody there any more each is dropped, which answers it.
            let _ = out.send(incoming).await;
        }
    }
}

/// Sleeps until there may be something to take, or nobody to take it for.
async fn idle(lanes: &mut [Lane], stop: &mut watch::Receiver<bool>, out: &mpsc::Sender<Incoming>) {
    tokio::select! {
        () = any_rung(lanes) => {}
        () = sleep(POLL) => lanes.iter_mut().for_each(|l| l.look = Some(Look::Current)),
        () = turned(stop) => {}
        () = out.closed() => {}
    }
}

/// Whether trying to register again is of no use, until somebody corrects the program or grants it something.
fn for_good(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Invalid | ErrorKind::Denied | ErrorKind::NoResponder)
}

/// Runs a handler for each request of a service; panics are error replies.
pub(super) async fn handle<H, F, P>(mut requests: mpsc::Receiver<Incoming>, from: String, handler: H)
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = std::result::Result<P, Failure>> + Send,
    P: Into<Payload> + Send,
{
    let (handler, from) = (Arc::new(handler), Arc::<str>::from(from));
    let mut running = tokio::task::JoinSet::new();
    while let Some(incoming) = requests.recv().await {
        while running.try_join_next().is_some() {}
        let (handler, from) = (handler.clone(), from.clone());
        running.spawn(async move {
            let request = Request::of(&incoming);
            let span = trace::processing(&from, None, incoming.id, &incoming.headers);
            let work = async { handler(request).await }.instrument(span.clone());
            let result = tokio::select! {
                result = AssertUnwindSafe(work).catch_unwind() => result,
                () = incoming.cancelled() => return debug!(id = incoming.id, "given up: the request ended"),
            };
            let answered = match result {
                Ok(Ok(payload)) => incoming.reply(payload).await,
                Ok(Err(failure)) => {
                    trace::failed(&span, &failure.code);
                    incoming.fail(failure).await
                }
                Err(_) => {
                    trace::failed(&span, "panic");
                    incoming.fail(Failure::new("panic", "the handler panicked")).await
                }
            };
            if let Err(e) = answered {
                debug!(error = %e, "reply refused");
            }
        });
    }
    while running.join_next().await.is_some() {}
}
