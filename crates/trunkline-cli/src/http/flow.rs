//! What flows, told from two snapshots: rates for charts, and totals that only grow.
//!
//! Where a segment was emptied between the two, what it held is in neither and both: what flowed is taken to be what flowed before.
//! Two that are nearer than half a second (somebody acted) are not compared: the next one is, with the first. Nor are, for jobs, those
//! between which what is held was not counted anew.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

/// How many points the charts have: a quarter of an hour of being watched.
pub(super) const POINTS: usize = 900;
/// Rates over less than this would tell of chance.
const NEAR: f64 = 0.5;

/// What flowed in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
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

/// What flowed until a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// The newest last.
    pub(crate) points: Vec<Point>,
    /// Of each queue: pushed and ended a second.
    pub(crate) rates: HashMap<String, (f64, f64)>,
    /// Since this process looked first.
    pub(crate) totals: [f64; FLOWS],
    /// What the next snapshot is compared with, where this one came too soon.
    base: Option<Value>,
    /// What its jobs are, where what is held was counted some time ago: the first snapshot that tells that count.
    jobs: Option<Value>,
}

impl Flow {
    /// From a snapshot and what flowed until it, to the next.
    pub(crate) fn between(now: &Value, before: Option<(&Value, &Self)>) -> Self {
        let Some((last, before)) = before else { return Self::default() };
        let was = before.base.as_ref().unwrap_or(last);
        let (mut points, mut totals) = (before.points.clone(), before.totals);
        let time = seconds(now, was);
        let Some(time) = time.filter(|time| *time >= NEAR) else {
            // A clock that was set back is a new beginning.
            let base = time.filter(|time| *time >= 0.0).map(|_| was.clone());
            return Self { points, rates: before.rates.clone(), totals, base, jobs: before.jobs.clone() };
        };
        let (point, rates) = Between { now, was, time, before }.compare();
        let jobs = same_count(now, was).then(|| before.jobs.clone().unwrap_or_else(|| was.clone()));
        for (total, rate) in totals.iter_mut().zip(point.flows()) {
            // As a rate it was divided by just this; a thousandth is as exact as it is.
            *total += ((rate * time).max(0.0) * 1000.0).round() / 1000.0;
        }
        points.push(point);
        let old = points.len().saturating_sub(POINTS);
        points.drain(..old);
        Self { points, rates, totals, base: None, jobs }
    }
}

fn rows<'a>(value: &'a Value, part: &str) -> &'a [Value] {
    value[part].as_array().map_or(&[], Vec::as_slice)
}

fn sum(value: &Value, part: &str, column: &str) -> i64 {
    rows(value, part).iter().filter_map(|r| r[column].as_i64()).sum()
}

fn seconds(now: &Value, was: &Value) -> Option<f64> {
    Some(now["at"].as_f64()? - was["at"].as_f64()?)
}

/// Whether both tell one count of what is held, some seconds old.
fn same_count(now: &Value, was: &Value) -> bool {
    let of = |value| rows(value, "queues").first().and_then(|q| q["held_counted_at"].as_str());
    of(now).is_some_and(|at| of(was) == Some(at))
}

/// Two snapshots, and the seconds between them.
#[derive(Clone, Copy)]
struct Between<'a> {
    now: &'a Value,
    was: &'a Value,
    time: f64,
    before: &'a Flow,
}

impl Between<'_> {
    fn compare(&self) -> (Point, HashMap<String, (f64, f64)>) {
        let last = self.before.points.last().copied().unwrap_or_default();
        let (rates, dead) = match &self.before.jobs {
            _ if same_count(self.now, self.was) => (self.before.rates.clone(), last.dead),
            Some(was) => Between { was, time: seconds(self.now, was).unwrap_or(self.time), ..*self }.jobs(),
            None => self.jobs(),
        };
        let all = |pick: fn(&(f64, f64)) -> f64| rates.values().map(pick).sum();
        let (appended, finished) = match self.streams_emptied() {
            true => (last.appended, last.finished),
            false => (self.grown("streams", "events"), self.per_second(self.finished())),
        };
        let told = |column: &str| rows(self.now, "channels").iter().filter_map(|c| c[column].as_f64()).sum();
        let point = Point {
            at: self.now["at"].as_f64().unwrap_or(0.0),
            pushed: all(|r| r.0),
            ended: all(|r| r.1),
            dead,
            appended,
            finished,
            dead_letters: self.grown("consumers", "dead"),
            sent: told("sent_per_second"),
            answered: told("ended_per_second"),
            failed: told("failed_per_second"),
            published: self.published(),
            gaps: self.grown("subscriptions", "gaps"),
        };
        (point, rates)
    }

    /// What was pushed and ended of each queue, a second, and how many jobs died of all.
    fn jobs(&self) -> (HashMap<String, (f64, f64)>, f64) {
        let known: HashMap<&str, &Value> =
            rows(self.was, "queues").iter().filter_map(|q| Some((q["queue"].as_str()?, q))).collect();
        let emptied = self.ring_emptied();
        let (mut rates, mut dead) = (HashMap::new(), 0);
        for queue in rows(self.now, "queues") {
            let Some(name) = queue["queue"].as_str() else { continue };
            let was = known.get(name).map_or((0, 0), |q| totals(q));
            let now = totals(queue);
            // Fewer than before, too: some were deleted.
            let rate = match emptied || now.0 < was.0 || now.1 < was.1 {
                true => self.before.rates.get(name).copied().unwrap_or_default(),
                false => (self.per_second(now.0 - was.0), self.per_second(now.1 - was.1)),
            };
            rates.insert(name.to_owned(), rate);
            let died = |q: &Value| q["dead"].as_i64().unwrap_or(0);
            dead += (died(queue) - known.get(name).map_or(0, |q| died(q))).max(0);
        }
        (rates, self.per_second(dead))
    }

    /// Whether a segment of the jobs' rings became smaller.
    fn ring_emptied(&self) -> bool {
        let sizes = |value| -> HashMap<(String, String), i64> {
            let ours = |r: &&Value| r["ring"].as_str().is_some_and(|ring| ring.starts_with("job"));
            let size =
                |r: &Value| Some(((r["ring"].to_string(), r["segment"].to_string()), r["bytes"].as_i64()?));
            rows(value, "rings").iter().filter(ours).filter_map(size).collect()
        };
        let now = sizes(self.now);
        sizes(self.was).iter().any(|(segment, bytes)| now.get(segment).is_some_and(|now| now < bytes))
    }

    fn streams_emptied(&self) -> bool {
        let sizes = |row: &Value| -> Vec<i64> {
            row["segment_bytes"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect()
        };
        let was: HashMap<String, Vec<i64>> =
            rows(self.was, "streams").iter().map(|r| (r["stream"].to_string(), sizes(r))).collect();
        rows(self.now, "streams").iter().any(|r| {
            let was = was.get(&r["stream"].to_string()).into_iter().flatten();
            sizes(r).iter().zip(was).any(|(now, was)| now < was)
        })
    }

    fn grown(&self, part: &str, column: &str) -> f64 {
        self.per_second(sum(self.now, part, column) - sum(self.was, part, column))
    }

    fn per_second(&self, grown: i64) -> f64 {
        let grown = i32::try_from(grown.max(0)).unwrap_or(i32::MAX);
        f64::from(grown) / self.time
    }

    /// How many events consumers finished: by how much each one's backlog grew less than its stream.
    fn finished(&self) -> i64 {
        let covered = |value| -> HashMap<String, i64> {
            let row =
                |r: &Value| Some((r["stream"].to_string(), r["events"].as_i64()? - r["uncovered"].as_i64()?));
            rows(value, "streams").iter().filter_map(row).collect()
        };
        let name = |c: &Value| (c["stream"].to_string(), c["consumer"].to_string());
        let (covers, covered) = (covered(self.now), covered(self.was));
        let behind: HashMap<_, _> = rows(self.was, "consumers")
            .iter()
            .filter_map(|c| Some((name(c), c["estimate"].as_i64()?)))
            .collect();
        let one = |now: &Value| {
            let name = name(now);
            let grown = covers.get(&name.0)? - covered.get(&name.0)?;
            let finished = grown - (now["estimate"].as_i64()? - behind.get(&name)?);
            (grown >= 0).then_some(finished.max(0))
        };
        rows(self.now, "consumers").iter().filter_map(one).sum()
    }

    fn published(&self) -> f64 {
        let grown = self.now["published"].as_i64().zip(self.was["published"].as_i64());
        // The ring was made anew, and ids jumped.
        let jumped = |n: &i64| *n > 100_000_000;
        grown.map(|(now, was)| now - was).filter(|n| !jumped(n)).map_or(0.0, |n| self.per_second(n))
    }
}

/// All jobs of a queue that are known, and those of them that have ended.
fn totals(queue: &Value) -> (i64, i64) {
    let sum = |states: &[&str]| states.iter().filter_map(|s| queue[*s].as_i64()).sum::<i64>();
    let ended = sum(&["done", "dead", "cancelled"]);
    (sum(&["waiting", "scheduled", "running", "retrying"]) + ended, ended)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::http::live::Snapshot;

    #[test]
    fn what_flows_is_told_from_two_snapshots_and_where_a_segment_was_emptied_as_it_was_before() {
        let ring = |at: f64, waiting: i64, done: i64, bytes: i64, before: Option<&Snapshot>| {
            let queue = json!({ "queue": "q", "waiting": waiting, "done": done, "dead": 0 });
            let ring = json!({ "ring": "job_d", "segment": 1, "bytes": bytes });
            Snapshot::after(json!({ "at": at, "queues": [queue], "rings": [ring] }), Duration::ZERO, before)
        };
        let of = |at, waiting, done, before: Option<&Snapshot>| ring(at, waiting, done, 7, before);
        let first = of(1.0, 10, 0, None);
        assert!(first.flow.points.is_empty());
        let second = of(3.0, 20, 10, Some(&first));
        assert_eq!(second.flow.rates["q"], (10.0, 5.0));
        let third = of(4.0, 20, 0, Some(&second));
        assert_eq!(third.flow.rates["q"], (10.0, 5.0), "fewer are known, and it is taken to go on");
        assert_eq!(third.flow.totals[..2], [30.0, 15.0]);
        let fourth = ring(5.0, 30, 1, 6, Some(&third));
        assert_eq!(fourth.flow.rates["q"], (10.0, 5.0), "more are known, and a segment was emptied");
        assert_eq!(third.flow.points.len(), 2);
        assert_eq!(third.flow.points[0], Point { at: 3.0, pushed: 10.0, ended: 5.0, ..Point::default() });
    }

    #[test]
    fn snapshots_that_are_too_near_are_not_compared_and_nothing_is_lost_by_it() {
        let of = |at: f64, pushed: i64, before: Option<&Snapshot>| {
            let queue = json!({ "queue": "q", "waiting": pushed, "done": 0, "dead": 0 });
            Snapshot::after(json!({ "at": at, "queues": [queue] }), Duration::ZERO, before)
        };
        let first = of(1.0, 10, None);
        let near = of(1.05, 20, Some(&first));
        let nearer = of(1.1, 30, Some(&near));
        assert!(nearer.flow.points.is_empty() && nearer.flow.totals[0] == 0.0);
        let then = of(3.0, 50, Some(&nearer));
        assert_eq!((then.flow.points.len(), then.flow.rates["q"].0, then.flow.totals[0]), (1, 20.0, 40.0));
        let back = of(2.0, 60, Some(&then));
        let on = of(4.0, 80, Some(&back));
        assert_eq!((on.flow.rates["q"].0, on.flow.totals[0]), (10.0, 60.0), "a clock that was set back");
    }

    #[test]
    fn where_what_is_held_was_counted_seconds_ago_jobs_flow_from_count_to_count() {
        let of = |at: f64, waiting: i64, counted: &str, before: Option<&Snapshot>| {
            let queue = json!({ "queue": "q", "waiting": waiting, "held_counted_at": counted });
            Snapshot::after(json!({ "at": at, "queues": [queue] }), Duration::ZERO, before)
        };
        let rate = |s: &Snapshot| s.flow.rates.get("q").map(|r| r.0);
        let first = of(0.0, 0, "a", None);
        let same = of(1.0, 3, "a", Some(&first));
        assert_eq!(rate(&same), None);
        let counted = of(5.0, 100, "b", Some(&same));
        assert_eq!(rate(&counted), Some(20.0), "since the first that told the count before");
        let on = of(6.0, 101, "b", Some(&counted));
        let and_on = of(9.0, 109, "b", Some(&on));
        assert_eq!((rate(&on), rate(&and_on)), (Some(20.0), Some(20.0)), "it is taken to go on");
        let then = of(10.0, 150, "c", Some(&and_on));
        assert_eq!(rate(&then), Some(10.0));
        let later = of(11.0, 157, "d", Some(&then));
        assert_eq!(rate(&later), Some(7.0));
    }

    #[test]
    fn what_consumers_finish_is_what_their_backlog_did_not_grow_by() {
        let of = |at: f64, events: i64, estimate: i64, published: i64, before: Option<&Snapshot>| {
            let stream =
                json!({ "stream": "s", "events": events, "uncovered": 10, "segment_bytes": [events, 0, 9] });
            let consumer = json!({ "stream": "s", "consumer": "c", "estimate": estimate, "dead": 0 });
            let value =
                json!({ "at": at, "streams": [stream], "consumers": [consumer], "published": published });
            Snapshot::after(value, Duration::ZERO, before)
        };
        let told = |s: &Snapshot| s.flow.points.last().map(|p| (p.appended, p.finished, p.published));
        let first = of(1.0, 100, 50, 7, None);
        let second = of(2.0, 200, 30, 27, Some(&first));
        assert_eq!(told(&second), Some((100.0, 120.0, 20.0)));
        let third = of(3.0, 200, 30, 1_763_000_000_000_000, Some(&second));
        assert_eq!(told(&third), Some((0.0, 0.0, 0.0)), "the ring was made anew");
        let fourth = of(4.0, 20, 5, 1_763_000_000_000_001, Some(&third));
        assert_eq!(told(&fourth), Some((0.0, 0.0, 1.0)), "a segment was emptied: as before");
        let fifth = of(5.0, 80, 5, 1_763_000_000_000_001, Some(&fourth));
        let sixth = of(6.0, 50, 5, 1_763_000_000_000_001, Some(&fifth));
        assert_eq!(told(&sixth), Some((60.0, 60.0, 0.0)), "and before it flowed");
    }
}
