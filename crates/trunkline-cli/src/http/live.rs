//! One snapshot of all that flows and waits, shared by all viewers; none is taken while nobody looks.
//!
//! ```text
//!   IDLE ──a page, a viewer──▶ TAKEN ──a second, or four times what it took──▶ old ──somebody looks──▶ TAKEN
//! ```
//! Guarantees: at most one statement at a time, whatever the number of viewers, and at most a fifth of the time one is running,
//! so that a database with many jobs is not kept busy by being watched. What comes per second is told from two snapshots; where a
//! segment was emptied between them nothing is told.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use serde_json::Value;
use tokio::{
    sync::{Mutex as Turn, Notify, watch},
    time::timeout,
};

use super::{
    App,
    data::Data,
    problem::{Answer, Problem},
};

const BEAT: Duration = Duration::from_secs(1);
/// How long a snapshot may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// For how long the topics are counted after somebody looked at them.
const COUNTED: Duration = Duration::from_secs(5);
/// How many points the charts have: a quarter of an hour of being watched.
const POINTS: usize = 900;

/// What flowed in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Point {
    /// Seconds since 1970, by the database's clock.
    pub(crate) at: f64,
    pub(crate) pushed: f64,
    pub(crate) ended: f64,
    pub(crate) dead: f64,
    pub(crate) appended: f64,
    /// Events that consumers finished, each one counted for itself.
    pub(crate) finished: f64,
    pub(crate) dead_letters: f64,
    pub(crate) sent: f64,
    pub(crate) answered: f64,
    /// Requests that ended without a reply: errors of responders, deadlines, lost ones.
    pub(crate) failed: f64,
    /// Volatile messages; those of durable topics are events.
    pub(crate) published: f64,
    /// Gaps that subscriptions were told of.
    pub(crate) gaps: f64,
}

impl Point {
    /// What flowed, in the order of the fields.
    pub(crate) fn flows(&self) -> [f64; FLOWS] {
        [
            self.pushed,
            self.ended,
            self.dead,
            self.appended,
            self.finished,
            self.dead_letters,
            self.sent,
            self.answered,
            self.failed,
            self.published,
            self.gaps,
        ]
    }
}

/// How many fields of a point are flows.
pub(crate) const FLOWS: usize = 11;

/// Everything, at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) value: Value,
    /// What flowed since this process looked first; it only grows.
    pub(crate) totals: [f64; FLOWS],
    /// What flowed until now, the newest last.
    pub(crate) points: Vec<Point>,
    /// Of each queue: pushed and ended a second.
    pub(crate) rates: HashMap<String, (f64, f64)>,
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
        let (points, rates, totals) = (Vec::new(), HashMap::new(), [0.0; FLOWS]);
        let mut next = Self { value, totals, points, rates, taken: Instant::now(), took };
        let Some(before) = before else { return next };
        let mut points: VecDeque<Point> = before.points.iter().copied().collect();
        let point = next.compare(before);
        next.totals = before.totals;
        if let (Some(point), Some(at)) = (&point, before.value["at"].as_f64()) {
            // As rates they were divided by just this; a thousandth is as exact as they are.
            let flowed =
                point.flows().map(|rate| ((rate * (point.at - at)).max(0.0) * 1000.0).round() / 1000.0);
            next.totals.iter_mut().zip(flowed).for_each(|(total, flowed)| *total += flowed);
        }
        points.extend(point);
        while points.len() > POINTS {
            points.pop_front();
        }
        next.points = points.into();
        next
    }

    /// What flowed since another snapshot; nothing when the clock stood still.
    fn compare(&mut self, before: &Self) -> Option<Point> {
        let at = self.value["at"].as_f64()?;
        let time = at - before.value["at"].as_f64()?;
        if time < 0.001 {
            return None;
        }
        let known: HashMap<&str, &Value> =
            before.rows("queues").iter().filter_map(|q| Some((q["queue"].as_str()?, q))).collect();
        let (mut pushed, mut ended) = (0.0, 0.0);
        let mut rates = HashMap::new();
        for queue in self.rows("queues") {
            let Some(name) = queue["queue"].as_str() else { continue };
            let was = known.get(name).map_or((0, 0), |q| totals(q));
            let now = totals(queue);
            // Fewer than before: a segment was emptied, or some were deleted.
            let rate = (per_second(now.0 - was.0, time), per_second(now.1 - was.1, time));
            pushed += rate.0;
            ended += rate.1;
            rates.insert(name.to_owned(), rate);
        }
        self.rates = rates;
        let grown =
            |part: &str, column: &str| per_second(self.sum(part, column) - before.sum(part, column), time);
        let sum = |column: &str| self.rows("channels").iter().filter_map(|c| c[column].as_f64()).sum();
        Some(Point {
            at,
            pushed,
            ended,
            dead: grown("queues", "dead"),
            appended: grown("streams", "events"),
            finished: per_second(self.finished_since(before), time),
            dead_letters: grown("consumers", "dead"),
            sent: sum("sent_per_second"),
            answered: sum("ended_per_second"),
            failed: sum("failed_per_second"),
            published: self.published_since(before, time),
            gaps: grown("subscriptions", "gaps"),
        })
    }

    /// How many events consumers finished: by how much each one's backlog grew less than its stream.
    fn finished_since(&self, before: &Self) -> i64 {
        let covered = |s: &Self| -> HashMap<String, i64> {
            let row =
                |r: &Value| Some((r["stream"].to_string(), r["events"].as_i64()? - r["uncovered"].as_i64()?));
            s.rows("streams").iter().filter_map(row).collect()
        };
        let name = |c: &Value| (c["stream"].to_string(), c["consumer"].to_string());
        let (covers, covered) = (covered(self), covered(before));
        let behind: HashMap<_, _> = before
            .rows("consumers")
            .iter()
            .filter_map(|c| Some((name(c), c["estimate"].as_i64()?)))
            .collect();
        let one = |now: &Value| {
            let name = name(now);
            let grown = covers.get(&name.0)? - covered.get(&name.0)?;
            // Fewer than before: a segment was emptied, and nothing is known.
            let finished = grown - (now["estimate"].as_i64()? - behind.get(&name)?);
            (grown >= 0).then_some(finished.max(0))
        };
        self.rows("consumers").iter().filter_map(one).sum()
    }

    fn published_since(&self, before: &Self, time: f64) -> f64 {
        let grown = self.value["published"].as_i64().zip(before.value["published"].as_i64());
        // The ring was made anew, and ids jumped.
        let jumped = |n: &i64| *n > 100_000_000;
        grown.map(|(now, was)| now - was).filter(|n| !jumped(n)).map_or(0.0, |n| per_second(n, time))
    }
}

/// All jobs of a queue that are known, and those of them that have ended.
fn totals(queue: &Value) -> (i64, i64) {
    let sum = |states: &[&str]| states.iter().filter_map(|s| queue[*s].as_i64()).sum::<i64>();
    let ended = sum(&["done", "dead", "cancelled"]);
    (sum(&["waiting", "scheduled", "running", "retrying"]) + ended, ended)
}

fn per_second(grown: i64, time: f64) -> f64 {
    let grown = i32::try_from(grown.max(0)).unwrap_or(i32::MAX);
    f64::from(grown) / time
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
        let snapshot = Arc::new(Snapshot::after(value, began.elapsed(), before.as_deref()));
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
    pub(crate) fn count_topics(&self) {
        *self.topics.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + COUNTED);
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_flows_is_told_from_two_snapshots_and_nothing_where_a_segment_was_emptied() {
        let of = |at: f64, waiting: i64, done: i64, before: Option<&Snapshot>| {
            let queue = json!({ "queue": "q", "waiting": waiting, "done": done, "dead": 0 });
            Snapshot::after(json!({ "at": at, "queues": [queue] }), Duration::ZERO, before)
        };
        let first = of(1.0, 10, 0, None);
        assert!(first.points.is_empty());
        let second = of(3.0, 20, 10, Some(&first));
        assert_eq!(second.rates["q"], (10.0, 5.0));
        let third = of(4.0, 20, 0, Some(&second));
        assert_eq!(third.rates["q"], (0.0, 0.0));
        assert_eq!(third.points.len(), 2);
        assert_eq!(third.points[0], Point { at: 3.0, pushed: 10.0, ended: 5.0, ..Point::default() });
    }

    #[test]
    fn what_consumers_finish_is_what_their_backlog_did_not_grow_by() {
        let of = |at: f64, events: i64, estimate: i64, published: i64, before: Option<&Snapshot>| {
            let stream = json!({ "stream": "s", "events": events, "uncovered": 10 });
            let consumer = json!({ "stream": "s", "consumer": "c", "estimate": estimate, "dead": 0 });
            let value =
                json!({ "at": at, "streams": [stream], "consumers": [consumer], "published": published });
            Snapshot::after(value, Duration::ZERO, before)
        };
        let told = |s: &Snapshot| s.points.last().map(|p| (p.appended, p.finished, p.published));
        let first = of(1.0, 100, 50, 7, None);
        let second = of(2.0, 200, 30, 27, Some(&first));
        assert_eq!(told(&second), Some((100.0, 120.0, 20.0)));
        let third = of(3.0, 200, 30, 1_763_000_000_000_000, Some(&second));
        assert_eq!(told(&third), Some((0.0, 0.0, 0.0)), "the ring was made anew");
        let fourth = of(4.0, 20, 5, 1_763_000_000_000_001, Some(&third));
        assert_eq!(told(&fourth), Some((0.0, 0.0, 1.0)), "a segment was emptied");
    }
}
