//! The caller's side: calls in flight, and the pumps that write them, fetch their endings and end them in time.
//!
//! ```text
//!            write pump                 fetch pump
//!  [queued] ───────────▶ [waiting] ──────────────────────────▶ ended (reply, remote error, unsupported, lost …)
//!      │                     │ deadline, or the call dropped
//!      │ no responder        ▼
//!      └──────▶ ended    [ending]  compare-and-set `timed out` / `cancelled`: won ▶ ended so
//!                                  lost to a reply ▶ the fetch pump brings it ▶ ended with the reply
//! ```
//! Guarantee: one definite outcome for each call, the same that the responder learns, by its deadline + 100 ms; when the
//! database cannot be asked by then, `timed out` (or `lost`, when it is not known whether the request was written).
//!
//! What if it dies here: the process's death drops its session, and what was not taken is passed over; a lost connection
//! keeps calls waiting until the reconnect, where each is looked up by id: gone means lost (the database crashed).

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, warn};

use super::{
    payload::{Content, Headers, Part, Payload, Reply, decode_headers},
    snapshot::Snapshot,
    wire::{self, Ended, Lane, Outgoing, Ring, Segment, Written},
};
use crate::{
    Error, ErrorKind, Result,
    listener::{Bell, Link, Listener, POLL, closed, lock},
};

/// The most requests in one statement, and the most bytes.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 1 << 20;
/// How long after its deadline a call waits for the database's word.
pub(super) const GRACE: Duration = Duration::from_millis(60);

/// Counters of one process; they only rise.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: AtomicU64,
    pub(super) replied: AtomicU64,
    pub(super) found_by_poll: AtomicU64,
    pub(super) unclaimed: AtomicU64,
    pub(super) served: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) expired: AtomicU64,
    /// Into which segments requests were written: where endings are looked for.
    pub(super) used: [AtomicBool; 4],
}

/// A call in flight.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) ring: Ring,
    /// Known once it was written.
    pub(super) id: Option<i64>,
    pub(super) done: oneshot::Sender<Result<Reply>>,
    pub(super) parts: Option<mpsc::Sender<Part>>,
    pub(super) summary: Summary,
    /// Written in a transaction of the application's: not to be seen before that commits.
    unseen: bool,
    /// The session it was written for: once ours is another, its ending is found by looking only.
    session: i32,
    /// How its caller ended it before the write was done; carried out after that.
    ended: Option<i32>,
    /// Parts that came before this attempt's are dropped.
    attempt: i32,
}

/// What a call is about, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The id; 0 until it was written.
    pub id: i64,
    /// The destination: a channel, or `@` and an address.
    pub destination: String,
    /// The request's type.
    pub kind: String,
    /// When it expires.
    pub deadline: std::time::SystemTime,
}

/// The caller's half of the engine.
#[derive(Debug)]
pub(super) struct Caller {
    listener: Arc<Listener>,
    queue: mpsc::Sender<Outgoing>,
    ending: mpsc::UnboundedSender<(i64, i32)>,
    flights: Arc<Mutex<HashMap<i64, Flight>>>,
    next: AtomicI64,
    lanes: Mutex<HashMap<String, Lane>>,
    pub(super) counters: Arc<Counters>,
}

impl Caller {
    pub(super) fn start(listener: Arc<Listener>, counters: Arc<Counters>) -> Arc<Self> {
        let (queue, queued) = mpsc::channel(4096);
        let (ending, ended) = mpsc::unbounded_channel();
        let caller = Arc::new(Self {
            listener: listener.clone(),
            queue,
            ending,
            flights: Arc::default(),
            next: AtomicI64::new(1),
            lanes: Mutex::default(),
            counters,
        });
        let fetching = Arc::new(Notify::new());
        let pumps = Pumps {
            listener,
            flights: caller.flights.clone(),
            counters: caller.counters.clone(),
            wake: fetching,
            ending: caller.ending.downgrade(),
        };
        tokio::spawn(pumps.clone().write(queued));
        tokio::spawn(pumps.clone().fetch());
        tokio::spawn(pumps.finish(ended));
        caller
    }

    /// The lane of a destination; channels are remembered, addresses looked up each time.
    pub(super) async fn lane(&self, destination: &str) -> Result<Lane> {
        if let Some(known) = lock(&self.lanes).get(destination) {
            return Ok(*known);
        }
        let found = wire::lane(&*self.listener.link().await?, destination).await?;
        let mut lanes = lock(&self.lanes);
        if !destination.starts_with('@') && lanes.len() < 10_000 {
            lanes.insert(destination.to_owned(), found);
        }
        Ok(found)
    }

    /// Registers a flight: its correlation number.
    pub(super) fn register(
        &self,
        ring: Ring,
        summary: Summary,
        parts: Option<mpsc::Sender<Part>>,
    ) -> (i64, oneshot::Receiver<Result<Reply>>) {
        let corr = self.next.fetch_add(1, Ordering::Relaxed);
        let (done, rx) = oneshot::channel();
        lock(&self.flights).insert(
            corr,
            Flight {
                ring,
                id: None,
                done,
                parts,
                summary,
                unseen: false,
                session: 0,
                ended: None,
                attempt: 1,
            },
        );
        (corr, rx)
    }

    /// A request that was written in the application's transaction. One that expects no answer is done with.
    pub(super) fn written_elsewhere(&self, corr: i64, id: i64, session: i32, expects_answer: bool) {
        self.counters.sent.fetch_add(1, Ordering::Relaxed);
        self.counters.used[Segment::of(id).index()].store(true, Ordering::Relaxed);
        let mut flights = lock(&self.flights);
        if expects_answer {
            if let Some(f) = flights.get_mut(&corr) {
                f.id = Some(id);
                f.summary.id = id;
                f.session = session;
                f.unseen = true;
            }
        } else if let Some(f) = flights.remove(&corr) {
            let _ = f.done.send(Ok(Reply { id, payload: Payload::default(), headers: Headers::new() }));
        }
    }

    pub(super) async fn enqueue(&self, request: Outgoing) -> Result<()> {
        let corr = request.corr;
        self.queue.send(request).await.map_err(|_| {
            lock(&self.flights).remove(&corr);
            Error::new(ErrorKind::Unreachable, "trunkline was closed")
        })
    }

    /// Waits for a flight until its deadline, then settles the outcome with the database.
    pub(super) async fn wait(
        &self,
        corr: i64,
        mut done: &mut oneshot::Receiver<Result<Reply>>,
        deadline: Instant,
    ) -> Result<Reply> {
        tokio::select! {
            biased;
            answer = &mut done => return answer.unwrap_or_else(|_| Err(lost())),
            () = sleep_until(deadline) => {}
        }
        self.end(corr, 4);
        match timeout(GRACE, &mut done).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(lost())),
            Err(_) => {
                let known = lock(&self.flights).remove(&corr).is_none_or(|f| f.id.is_some());
                Err(if known { timed_out() } else { lost() })
            }
        }
    }

    /// Ends a flight as its caller: 3 cancelled, 4 timed out.
    pub(super) fn end(&self, corr: i64, status: i32) {
        let _ = self.ending.send((corr, status));
    }

    pub(super) fn awaiting(&self) -> Vec<Summary> {
        let mut all: Vec<_> = lock(&self.flights).values().map(|f| f.summary.clone()).collect();
        all.sort_by_key(|s| s.id);
        all
    }
}

pub(super) fn timed_out() -> Error {
    Error::new(ErrorKind::TimedOut, "no reply before the deadline")
}

pub(super) fn lost() -> Error {
    Error::new(ErrorKind::Lost, "the request was lost: its responder or the database died; it may have run")
}

/// What an ending means for the caller; none for a part or a change of hands.
pub(super) fn verdict(ended: Ended, destination: &str) -> Option<Result<Reply>> {
    let text = || String::from_utf8_lossy(&ended.payload).into_owned();
    let fail = |kind, message: String| Some(Err(Error::new(kind, message)));
    match ended.status {
        0 | 7 | 8 => Some(Ok(Reply {
            id: ended.id,
            payload: Payload::new(Content::of(i32::from(ended.content)), ended.payload),
            headers: decode_headers(ended.headers.as_deref()),
        })),
        1 => Some(Err(
            Error::new(ErrorKind::Remote, text()).with_code(ended.code.unwrap_or_else(|| "error".into()))
        )),
        2 => Some(Err(Error::new(ErrorKind::Remote, text()).with_code("unsupported"))),
        3 => fail(ErrorKind::Cancelled, format!("the request to {destination} was cancelled")),
        4 => Some(Err(timed_out())),
        5 => Some(Err(lost())),
        _ => None,
    }
}

/// How far a session's endings were read, in each segment.
struct Seen {
    session: i32,
    generation: u64,
    since: [Snapshot; 4],
}

/// The tasks of the caller's half.
#[derive(Clone)]
struct Pumps {
    listener: Arc<Listener>,
    flights: Arc<Mutex<HashMap<i64, Flight>>>,
    counters: Arc<Counters>,
    wake: Arc<Notify>,
    ending: mpsc::WeakUnboundedSender<(i64, i32)>,
}

impl Pumps {
    /// One write in flight: whatever queued up meanwhile goes into the next.
    async fn write(self, mut queue: mpsc::Receiver<Outgoing>) {
        let mut batch = Vec::with_capacity(BATCH);
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            let Ok(link) = self.listener.link().await else { return };
            for ring in Ring::BOTH {
                let mut group: Vec<Outgoing> = Vec::new();
                let mut bytes = 0;
                for request in batch.extract_if(.., |r| r.ring == ring) {
                    bytes += request.payload.len();
                    group.push(request);
                    if bytes > BATCH_BYTES {
                        self.write_group(&link, ring, std::mem::take(&mut group)).await;
                        bytes = 0;
                    }
                }
                if !group.is_empty() {
                    self.write_group(&link, ring, group).await;
                }
            }
        }
    }

    async fn write_group(&self, link: &Arc<Link>, ring: Ring, mut group: Vec<Outgoing>) {
        let segment = ring.current(link);
        self.counters.used[segment.index()].store(true, Ordering::Relaxed);
        while !group.is_empty() {
            match wire::write(link, segment, &group).await {
                Ok(written) if written.absent.is_empty() => return self.written(link, &group, &written.ids),
                Ok(Written { absent, .. }) => {
                    let refused = group.extract_if(.., |r| r.flags & 32 != 0 && absent.contains(&r.lane));
                    self.refused(refused);
                }
                // A stranger's commit holds the server's one lock of NOTIFY: nothing was written, so ask again while
                // anybody waits.
                Err(e) if e.code() == Some("55P03") => {
                    group.retain(|r| lock(&self.flights).contains_key(&r.corr));
                }
                // One bad request must not take its neighbours with it.
                Err(e) if group.len() > 1 && e.kind() != ErrorKind::Unreachable => {
                    for request in group {
                        Box::pin(self.write_group(link, ring, vec![request])).await;
                    }
                    return;
                }
                Err(e) => return self.failed(link, &group, e),
            }
        }
    }

    /// Nobody serves where these were to go, and they asked to be told so.
    fn refused(&self, group: impl Iterator<Item = Outgoing>) {
        for request in group {
            let flight = lock(&self.flights).remove(&request.corr);
            if let Some(f) = flight {
                let _ = f.done.send(Err(no_responder(&f.summary.destination)));
            }
        }
    }

    fn written(&self, link: &Link, group: &[Outgoing], ids: &[i64]) {
        self.counters.sent.fetch_add(group.len() as u64, Ordering::Relaxed);
        let mut flights = lock(&self.flights);
        for (request, id) in group.iter().zip(ids) {
            if request.flags & 8 != 0 && request.flags & 16 == 0 {
                if let Some(f) = flights.remove(&request.corr) {
                    let _ = f.done.send(Ok(Reply {
                        id: *id,
                        payload: Payload::default(),
                        headers: Default::default(),
                    }));
                }
            } else if let Some(f) = flights.get_mut(&request.corr) {
                f.id = Some(*id);
                f.summary.id = *id;
                f.session = link.session;
                if let (Some(status), Some(ending)) = (f.ended, self.ending.upgrade()) {
                    let _ = ending.send((request.corr, status));
                }
            }
        }
        drop(flights);
        for request in group {
            self.listener.ring(request.lane & 63);
        }
    }

    /// A write that failed. When the connection broke in the middle it may have been done: those wait for a reply, for as
    /// long as the session is the same.
    fn failed(&self, link: &Link, group: &[Outgoing], e: Error) {
        if e.kind() == ErrorKind::Unreachable {
            let mut flights = lock(&self.flights);
            for request in group {
                if let Some(f) = flights.get_mut(&request.corr) {
                    f.session = link.session;
                }
            }
            warn!(
                requests = group.len(),
                "connection lost while sending; waiting for what may have been sent"
            );
            return;
        }
        let mut flights = lock(&self.flights);
        for request in group {
            if let Some(f) = flights.remove(&request.corr) {
                let again = Error::new(e.kind(), e.to_string());
                let _ = f.done.send(Err(match e.code() {
                    Some(code) => again.with_code(code),
                    None => again,
                }));
            }
        }
    }

    /// Reads this session's endings: when rung, after a reconnect, and once a second while calls are in flight.
    async fn fetch(self) {
        let mut seen: Option<Seen> = None;
        let mut bell: Option<(i32, Bell)> = None;
        loop {
            let Ok(link) = self.listener.link().await else { return self.abort() };
            let (_, bell) = match &mut bell {
                Some(b) if b.0 == link.session => b,
                other => other.insert((link.session, self.listener.door(64 + link.session))),
            };
            if seen.as_ref().is_none_or(|s| s.session != link.session || s.generation != link.generation) {
                match self.begin(&link, seen.take()).await {
                    Ok(s) => seen = Some(s),
                    Err(e) => {
                        debug!(error = %e, "cannot begin to fetch");
                        let _ = timeout(Duration::from_millis(50), bell.rung()).await;
                        continue;
                    }
                }
            }
            let rung = tokio::select! {
                () = bell.rung() => true,
                () = self.wake.notified() => true,
                () = tokio::time::sleep(POLL) => false,
            };
            if !rung && let Err(e) = self.look_up(&link, false).await {
                debug!(error = %e, "cannot look up what an earlier session sent");
            }
            let waiting = !lock(&self.flights).is_empty();
            let Some(seen) = seen.as_mut() else { continue };
            for (segment, since) in Segment::ALL.into_iter().zip(seen.since.iter_mut()) {
                let used = self.counters.used[segment.index()].load(Ordering::Relaxed);
                if !used || !(rung || waiting) {
                    continue;
                }
                match wire::fetch(&link, segment, since).await {
                    Ok(ended) => {
                        if !rung && !ended.is_empty() {
                            self.counters.found_by_poll.fetch_add(ended.len() as u64, Ordering::Relaxed);
                        }
                        ended.into_iter().for_each(|e| self.arrived(e));
                    }
                    Err(e) => debug!(error = %e, "cannot fetch"),
                }
            }
        }
    }

    /// The end of everything: what is in flight learns it now, and not at its deadline.
    fn abort(&self) {
        for (_, f) in lock(&self.flights).drain() {
            let known = f.id.is_some();
            let _ = f.done.send(Err(if known { lost() } else { closed() }));
        }
    }

    /// A new connection: of what is in flight, looks up by id what may have been missed.
    async fn begin(&self, link: &Arc<Link>, before: Option<Seen>) -> Result<Seen> {
        let now = wire::snapshot(link).await?;
        let since = match before {
            Some(seen) if seen.session == link.session => seen.since,
            _ => std::array::from_fn(|_| now.clone()),
        };
        self.look_up(link, true).await?;
        Ok(Seen { session: link.session, generation: link.generation, since })
    }

    /// Looks up calls by id: all, or those sent for an earlier session of ours, whose endings no bell announces.
    /// What is not there any more was lost in a crash.
    async fn look_up(&self, link: &Link, all: bool) -> Result<()> {
        let known: Vec<(i64, i64, Ring)> = lock(&self.flights)
            .iter()
            .filter(|(_, f)| all || f.session != link.session)
            .filter_map(|(corr, f)| Some((*corr, f.id?, f.ring)))
            .collect();
        // Perhaps written, and no way to ask: no id was learned, and what answers goes to a session that is not ours.
        let gone = |f: &mut Flight| f.id.is_none() && f.session != 0 && f.session != link.session;
        for (_, f) in lock(&self.flights).extract_if(|_, f| gone(f)) {
            let _ = f.done.send(Err(lost()));
        }
        for ring in Ring::BOTH {
            let group: Vec<(i64, i64)> = known.iter().filter(|k| k.2 == ring).map(|k| (k.0, k.1)).collect();
            if !group.is_empty() {
                self.settle(link, ring, &group).await?;
            }
        }
        Ok(())
    }

    /// Brings the database's word on calls, by (correlation, id).
    async fn settle(&self, link: &Link, ring: Ring, group: &[(i64, i64)]) -> Result<()> {
        let ids: Vec<i64> = group.iter().map(|g| g.1).collect();
        let mut found: HashMap<i64, Option<Ended>> =
            wire::outcome(link, ring, &ids).await?.into_iter().collect();
        for (corr, id) in group {
            match found.remove(id) {
                None => {
                    let mut flights = lock(&self.flights);
                    if flights.get(corr).is_some_and(|f| !f.unseen || f.ended.is_some())
                        && let Some(f) = flights.remove(corr)
                    {
                        // One that was never committed is not lost: nobody has seen it.
                        let _ = f.done.send(Err(if f.unseen { timed_out() } else { lost() }));
                    }
                }
                Some(Some(mut ended)) => {
                    ended.corr = *corr;
                    self.arrived(ended);
                }
                Some(None) => {}
            }
        }
        Ok(())
    }

    fn arrived(&self, ended: Ended) {
        let mut flights = lock(&self.flights);
        let Some(flight) = flights.get_mut(&ended.corr).filter(|f| f.id.is_none_or(|id| id == ended.id))
        else {
            drop(flights);
            self.counters.unclaimed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if ended.part > 0 {
            if let Some(parts) = &flight.parts
                && ended.attempt >= flight.attempt
            {
                flight.attempt = ended.attempt;
                let payload = Payload::new(Content::of(i32::from(ended.content)), ended.payload);
                let _ = parts.try_send(Part { number: ended.part, attempt: ended.attempt, payload });
            }
            return;
        }
        let destination = flight.summary.destination.clone();
        let corr = ended.corr;
        if let Some(answer) = verdict(ended, &destination)
            && let Some(flight) = flights.remove(&corr)
        {
            self.counters.replied.fetch_add(1, Ordering::Relaxed);
            let _ = flight.done.send(answer);
        }
    }

    /// Ends calls in the database, many at once; what a reply won is fetched.
    async fn finish(self, mut queue: mpsc::UnboundedReceiver<(i64, i32)>) {
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, 4096).await > 0 {
            let Ok(link) = self.listener.link().await else { return };
            let asked: Vec<(i64, i32, Option<i64>, Ring)> = {
                let mut flights = lock(&self.flights);
                let known = |(corr, status)| {
                    let f: &mut Flight = flights.get_mut(&corr)?;
                    f.ended = Some(status);
                    Some((corr, status, f.id, f.ring))
                };
                batch.drain(..).filter_map(known).collect()
            };
            for ring in Ring::BOTH {
                for status in [3, 4] {
                    let group: Vec<(i64, i64)> = asked
                        .iter()
                        .filter(|a| a.1 == status && a.3 == ring)
                        .filter_map(|a| a.2.map(|id| (a.0, id)))
                        .collect();
                    if !group.is_empty() {
                        self.finish_group(&link, ring, status, &group).await;
                    }
                }
            }
        }
    }

    async fn finish_group(&self, link: &Link, ring: Ring, status: i32, group: &[(i64, i64)]) {
        let ids: Vec<i64> = group.iter().map(|g| g.1).collect();
        let won = match wire::finish(link, ring, &ids, status).await {
            Ok(won) => won,
            // Somebody is answering one of them in a transaction that stays open: the others do not wait for it.
            Err(_) if group.len() > 1 => {
                for one in group {
                    Box::pin(self.finish_group(link, ring, status, std::slice::from_ref(one))).await;
                }
                return;
            }
            Err(e) => {
                debug!(error = %e, "cannot end a request; trying again");
                let (ending, corr) = (self.ending.clone(), group[0].0);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(250)).await;
                    ending.upgrade().map(|e| e.send((corr, status)))
                });
                return;
            }
        };
        let won: HashSet<i64> = won.into_iter().collect();
        for (corr, _) in group.iter().filter(|g| won.contains(&g.1)) {
            let Some(f) = lock(&self.flights).remove(corr) else { continue };
            let _ = f.done.send(Err(match status {
                3 => Error::new(
                    ErrorKind::Cancelled,
                    format!("the request to {} was cancelled", f.summary.destination),
                ),
                _ => timed_out(),
            }));
        }
        let others: Vec<(i64, i64)> = group.iter().filter(|g| !won.contains(&g.1)).copied().collect();
        if !others.is_empty()
            && let Err(e) = self.settle(link, ring, &others).await
        {
            debug!(error = %e, "cannot look up what was not ended");
        }
    }
}

pub(super) fn no_responder(destination: &str) -> Error {
    Error::new(ErrorKind::NoResponder, format!("nobody serves \"{destination}\"")).with_code("TL012")
}
