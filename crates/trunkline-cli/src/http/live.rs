//! One snapshot of all that flows and waits, shared by all viewers; none is taken while nobody looks.
//!
//! ```text
//!   IDLE ──a page, a viewer──▶ TAKEN ──a second, or four times what it took──▶ old ──somebody looks──▶ TAKEN
//! ```
//! Guarantees: at most one statement at a time, whatever the number of viewers, and at most a fifth of the time one is running,
//! so that a database with many jobs is not kept busy by being watched; and one more after each action, for who looks then.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use serde_json::Value;
use tokio::{
    sync::{Mutex as Turn, Notify, watch},
    time::timeout,
};
use trunkline::doctor::Level;

use super::{
    App,
    data::Data,
    flow::Flow,
    problem::{Answer, Problem},
};

const BEAT: Duration = Duration::from_secs(1);
/// How long a snapshot may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// For how long the topics are counted after somebody looked at them.
const COUNTED: Duration = Duration::from_secs(5);

/// How often the doctor is asked at most, for how long, and until when what he said is told.
const ASKED: Duration = Duration::from_secs(60);
const SAID: Duration = Duration::from_secs(120);

/// Everything, at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) value: Value,
    pub(crate) flow: Flow,
    /// How much the doctor found, and the worst of it, where that is known.
    pub(crate) found: Option<(usize, Option<Level>)>,
    taken: Instant,
    took: Duration,
}

/// What viewers are told.
#[derive(Debug, Clone)]
pub(crate) enum Seen {
    Nothing,
    Now(Arc<Snapshot>),
    Away(String),
}

/// The one who takes snapshots.
#[derive(Debug)]
pub(crate) struct Live {
    data: Data,
    turn: Turn<()>,
    latest: Mutex<Option<Arc<Snapshot>>>,
    seen: watch::Sender<Seen>,
    came: Notify,
    /// Until when snapshots tell of topics too: that counts what their ring holds, which may be much.
    topics: Mutex<Option<Instant>>,
    /// When somebody acted last: they are shown what came of it.
    acted: Mutex<Option<Instant>>,
    doctor: Arc<Mutex<Doctor>>,
}

/// When the doctor was asked last; when he last said something, and what.
#[derive(Debug, Default)]
struct Doctor {
    asked: Option<Instant>,
    said: Option<(Instant, usize, Option<Level>)>,
}

impl Snapshot {
    /// The rows of a part: queues, streams, consumers, channels, sessions, schedules, leases, subscriptions,
    /// topics or rings.
    pub(crate) fn rows(&self, part: &str) -> &[Value] {
        self.value[part].as_array().map_or(&[], Vec::as_slice)
    }

    /// The sum of a column.
    pub(crate) fn sum(&self, part: &str, column: &str) -> i64 {
        self.rows(part).iter().filter_map(|r| r[column].as_i64()).sum()
    }

    /// The largest value of a column of seconds.
    pub(crate) fn most(&self, part: &str, column: &str) -> Option<f64> {
        self.rows(part).iter().filter_map(|r| r[column].as_f64()).reduce(f64::max)
    }

    fn fresh(&self) -> bool {
        self.taken.elapsed() < BEAT.max(self.took * 4)
    }

    pub(crate) fn after(value: Value, took: Duration, before: Option<&Self>) -> Self {
        let flow = Flow::between(&value, before.map(|b| (&b.value, &b.flow)));
        Self { value, flow, found: None, taken: Instant::now(), took }
    }
}

impl Live {
    pub(crate) fn new(data: Data) -> Self {
        let seen = watch::Sender::new(Seen::Nothing);
        Self {
            data,
            turn: Turn::default(),
            latest: Mutex::default(),
            seen,
            came: Notify::new(),
            topics: Mutex::default(),
            acted: Mutex::default(),
            doctor: Arc::default(),
        }
    }

    /// The newest snapshot, taken now if it is old.
    pub(crate) async fn now(&self) -> Answer<Arc<Snapshot>> {
        let topics = self.counts_topics();
        let acted = *self.acted.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |s: &Arc<Snapshot>| {
            let since = acted.is_none_or(|at| at + s.took <= s.taken);
            since && s.fresh() && !(topics && s.value["topics"].is_null())
        };
        if let Some(fresh) = self.latest().filter(fits) {
            return Ok(fresh);
        }
        let _turn = self.turn.lock().await;
        let before = self.latest();
        if let Some(fresh) = before.clone().filter(fits) {
            return Ok(fresh);
        }
        let began = Instant::now();
        let value = timeout(PATIENCE, self.data.snapshot(topics)).await.map_err(|_| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer in time")
        })??;
        let found = self.doctor.lock().unwrap_or_else(PoisonError::into_inner).said;
        let found = found.filter(|(at, ..)| at.elapsed() < SAID).map(|(_, many, worst)| (many, worst));
        let snapshot = Snapshot { found, ..Snapshot::after(value, began.elapsed(), before.as_deref()) };
        let snapshot = Arc::new(snapshot);
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// The same, with topics from now on for a while.
    pub(crate) async fn with_topics(&self) -> Answer<Arc<Snapshot>> {
        self.count_topics();
        self.now().await
    }

    /// Something was done: whoever looks now is not shown how it was before.
    pub(crate) fn outdate(&self) {
        *self.acted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Has the next snapshots tell of topics.
    fn count_topics(&self) {
        *self.topics.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + COUNTED);
    }

    /// Somebody looks at this page: what it alone shows is in the next snapshots.
    pub(crate) fn asked_for(&self, page: &str) {
        match page {
            "topics" => self.count_topics(),
            "overview" => self.ask_doctor(),
            _ => {}
        }
    }

    /// Asks the doctor, if that was some time ago: snapshots tell what he says once he has, and nobody waits for it.
    fn ask_doctor(&self) {
        let mut doctor = self.doctor.lock().unwrap_or_else(PoisonError::into_inner);
        if doctor.asked.is_some_and(|at| at.elapsed() < ASKED) {
            return;
        }
        doctor.asked = Some(Instant::now());
        let (data, said) = (self.data.clone(), self.doctor.clone());
        tokio::spawn(async move {
            let found = timeout(ASKED, data.findings()).await.ok().and_then(Result::ok);
            let told = found.map(|all| (Instant::now(), all.len(), all.iter().map(|f| f.level).max()));
            said.lock().unwrap_or_else(PoisonError::into_inner).said = told;
        });
    }

    fn counts_topics(&self) -> bool {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }

    fn latest(&self) -> Option<Arc<Snapshot>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells of every snapshot from now on.
    pub(crate) fn watched(&self) -> watch::Receiver<Seen> {
        let receiver = self.seen.subscribe();
        self.came.notify_one();
        receiver
    }
}

/// Takes a snapshot each second while somebody watches.
pub(super) async fn watch(app: Arc<App>) {
    let live = &app.live;
    loop {
        if live.seen.receiver_count() == 0 {
            live.came.notified().await;
            continue;
        }
        let (seen, pause) = match live.now().await {
            Ok(snapshot) => {
                let pause = BEAT.max(snapshot.took * 4);
                (Seen::Now(snapshot), pause)
            }
            Err(Problem { detail, .. }) => (Seen::Away(detail), BEAT),
        };
        live.seen.send_replace(seen);
        tokio::time::sleep(pause).await;
    }
}
