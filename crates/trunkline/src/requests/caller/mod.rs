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

mod fetch;
mod finish;
mod write;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    payload::{Content, Headers, Part, Payload, Reply, decode_headers},
    wire::{self, Ended, Lane, Outgoing, Ring, Segment},
};
use crate::{
    Error, ErrorKind, Result,
    listener::{Listener, lock},
};

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
    /// Known once it was written; its caller's handle has it too.
    pub(super) id: Option<i64>,
    known: Arc<OnceLock<i64>>,
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

impl Flight {
    fn written(&mut self, id: i64, session: i32) {
        self.id = Some(id);
        let _ = self.known.set(id);
        self.summary.id = id;
        self.session = session;
    }
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

    /// The lane of a destination; channels are remembered, addresses looked up each time. Waits while the connection is
    /// down, as all of a call does: bound it by the call's deadline.
    pub(super) async fn lane(&self, destination: &str) -> Result<Lane> {
        if let Some(known) = lock(&self.lanes).get(destination) {
            return Ok(*known);
        }
        let found = loop {
            let link = self.listener.link().await?;
            match wire::lane(&link, destination).await {
                Err(e) if e.kind() == ErrorKind::Unreachable => self.listener.next_after(&link).await?,
                found => break found?,
            }
        };
        let mut lanes = lock(&self.lanes);
        if !destination.starts_with('@') && lanes.len() < 10_000 {
            lanes.insert(destination.to_owned(), found);
        }
        Ok(found)
    }

    /// Registers a flight: its correlation number, where its id will be, and its outcome.
    pub(super) fn register(
        &self,
        ring: Ring,
        summary: Summary,
        parts: Option<mpsc::Sender<Part>>,
    ) -> (i64, Arc<OnceLock<i64>>, oneshot::Receiver<Result<Reply>>) {
        let corr = self.next.fetch_add(1, Ordering::Relaxed);
        let (done, rx) = oneshot::channel();
        let known = Arc::new(OnceLock::new());
        lock(&self.flights).insert(
            corr,
            Flight {
                ring,
                id: None,
                known: known.clone(),
                done,
                parts,
                summary,
                unseen: false,
                session: 0,
                ended: None,
                attempt: 1,
            },
        );
        (corr, known, rx)
    }

    /// A request that was written in the application's transaction. One that expects no answer is done with.
    pub(super) fn written_elsewhere(&self, corr: i64, id: i64, session: i32, expects_answer: bool) {
        self.counters.sent.fetch_add(1, Ordering::Relaxed);
        self.counters.used[Segment::of(id).index()].store(true, Ordering::Relaxed);
        let mut flights = lock(&self.flights);
        if expects_answer {
            if let Some(f) = flights.get_mut(&corr) {
                f.written(id, session);
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

    /// Drops a flight that was never sent.
    pub(super) fn forget(&self, corr: i64) {
        lock(&self.flights).remove(&corr);
    }

    /// Ends a flight as its caller: 3 cancelled, 4 timed out.
    pub(super) fn end(&self, corr: i64, status: i32) {
        if let Some(f) = lock(&self.flights).get_mut(&corr) {
            f.ended = Some(status);
        }
        let _ = self.ending.send((corr, status));
    }

    /// Until what its caller ended has ended in the database, so that nothing goes on for nobody; for a second at most.
    pub(super) async fn finished(&self) {
        let done = async {
            while lock(&self.flights).values().any(|f| f.ended.is_some()) {
                sleep(Duration::from_millis(2)).await;
            }
        };
        let _ = timeout(Duration::from_secs(1), done).await;
    }

    pub(super) fn awaiting(&self) -> Vec<Summary> {
        let mut all: Vec<_> = lock(&self.flights).values().map(|f| f.summary.clone()).collect();
        all.sort_by_key(|s| s.id);
        all
    }
}

/// The tasks of the caller's half; each module here has one.
#[derive(Clone)]
struct Pumps {
    listener: Arc<Listener>,
    flights: Arc<Mutex<HashMap<i64, Flight>>>,
    counters: Arc<Counters>,
    wake: Arc<Notify>,
    ending: mpsc::WeakUnboundedSender<(i64, i32)>,
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

pub(super) fn no_responder(destination: &str) -> Error {
    Error::new(ErrorKind::NoResponder, format!("nobody serves \"{destination}\"")).with_code("TL012")
}
