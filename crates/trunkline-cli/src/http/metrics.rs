//! `/metrics`, as Prometheus reads it: the numbers of the shared snapshot, so that scraping costs no more than looking.
//!
//! Counters count from when this process looked first, by how its snapshots differ (`flow.rs`).
//! Names: `trunkline_`, base units, `_seconds`, `_bytes`. Labels are names of queues, streams, consumers and channels alone; each
//! family has at most 500 series, what is beyond is summed (or, of ages, the largest told) as `other`.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use serde_json::Value;

use super::{App, flow::FLOWS, live::Snapshot, problem::Answer};

/// The most series of a family, and what is beyond them.
const SERIES: usize = 500;
const STATES: [&str; 7] = ["waiting", "scheduled", "running", "retrying", "done", "dead", "cancelled"];
const OUTCOMES: [&str; 7] = ["waiting", "taken", "ok", "failed", "timed_out", "cancelled", "lost"];

/// Counters of what flowed: those of [`Point::flows`](super::flow::Point), in that order.
const FLOWED: [(&str, &str); FLOWS] = [
    ("jobs_pushed_total", "Jobs that were pushed."),
    ("jobs_ended_total", "Jobs that were done, are dead, or were cancelled."),
    ("jobs_dead_total", "Jobs that failed at every attempt."),
    ("stream_events_appended_total", "Events that were appended."),
    ("stream_events_finished_total", "Events that consumers finished, each consumer counted."),
    ("stream_dead_letters_total", "Events that became dead letters."),
    ("requests_sent_total", "Requests that were sent, by the rate of the newest ones."),
    ("requests_ended_total", "Requests that ended, by the same rate."),
    ("requests_failed_total", "Requests that ended without a reply, by the same rate."),
    (
        "topic_messages_published_total",
        "Volatile messages that were published; those of durable topics are events.",
    ),
    ("topic_gaps_total", "How often subscriptions were told that something may be missing."),
];

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(app): State<Arc<App>>) -> Answer<impl IntoResponse> {
    let mut text = String::new();
    families(&app).await.iter().for_each(|family| family.write(&mut text));
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

/// All that is told, of now.
pub(super) async fn families(app: &App) -> Vec<Family> {
    let snapshot = app.live.now().await;
    let mut up = Family::new("up", "Whether the database answered.");
    up.add(&[], &[], &Value::from(u8::from(snapshot.is_ok())));
    let mut build = Family::new("build_info", "The program that tells this.");
    build.add(&[("version", env!("CARGO_PKG_VERSION"))], &[], &Value::from(1));
    let mut all = vec![up, build];
    if let Ok(snapshot) = &snapshot {
        told(snapshot, &mut all);
        all.extend(FLOWED.iter().zip(snapshot.flow.totals).map(|((name, help), total)| {
            let mut family = Family::new(name, help);
            family.add(&[], &[], &Value::from(total));
            family
        }));
    }
    all
}

/// The name of a label, and what it says.
type Label = (&'static str, String);

/// A family: its series are added up by label.
pub(crate) struct Family {
    name: &'static str,
    pub(crate) help: &'static str,
    largest: bool,
    series: BTreeMap<Vec<Label>, f64>,
}

impl Family {
    fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, largest: false, series: BTreeMap::new() }
    }

    /// Of ages the largest counts, where several come together.
    fn largest(name: &'static str, help: &'static str) -> Self {
        Self { largest: true, ..Self::new(name, help) }
    }

    pub(crate) fn name(&self) -> String {
        format!("trunkline_{}", self.name)
    }

    /// It only grows while this process lives.
    pub(crate) fn counts(&self) -> bool {
        self.name.ends_with("_total")
    }

    /// As OpenTelemetry writes it.
    pub(crate) fn unit(&self) -> &'static str {
        match self.name {
            name if name.ends_with("_bytes") => "By",
            name if name.contains("_seconds") => "s",
            _ => "1",
        }
    }

    /// Its values, with their labels.
    pub(crate) fn series(&self) -> impl Iterator<Item = (&[Label], f64)> {
        self.series.iter().map(|(labels, value)| (labels.as_slice(), *value))
    }

    /// Adds a value; `other` are the labels of what is too much.
    fn add(&mut self, labels: &[(&'static str, &str)], other: &[(&'static str, &str)], value: &Value) {
        let owned = |labels: &[(&'static str, &str)]| -> Vec<Label> {
            labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
        };
        let Some(value) = value.as_f64() else { return };
        let mut key = owned(labels);
        if !self.series.contains_key(&key) && self.series.len() >= SERIES {
            key = owned(other);
        }
        let known = self.series.entry(key).or_insert(0.0);
        *known = if self.largest { known.max(value) } else { *known + value };
    }

    fn write(&self, out: &mut String) {
        let _ = writeln!(out, "# HELP trunkline_{} {}", self.name, self.help);
        let kind = if self.counts() { "counter" } else { "gauge" };
        let _ = writeln!(out, "# TYPE trunkline_{} {kind}", self.name);
        for (labels, value) in &self.series {
            let _ = writeln!(out, "trunkline_{}{} {value}", self.name, label(labels));
        }
    }
}

fn label(labels: &[Label]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn text<'a>(row: &'a Value, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_default()
}

fn told(s: &Snapshot, out: &mut Vec<Family>) {
    jobs(s, out);
    streams(s, out);
    let mut requests = Family::new(
        "requests_recent",
        "The newest requests, of all channels together 5000, by what became of them.",
    );
    let mut responders = Family::new("responders", "Responders that are here.");
    let mut latency = Family::largest(
        "request_duration_seconds_recent",
        "From sending to the end, of the newest requests.",
    );
    for c in s.rows("channels") {
        let channel = text(c, "channel");
        for outcome in OUTCOMES {
            let with = |name| [("channel", name), ("outcome", outcome)];
            requests.add(&with(channel), &with("other"), &c[outcome]);
        }
        responders.add(&[("channel", channel)], &[("channel", "other")], &c["responders"]);
        for (column, quantile) in [("p50", "0.5"), ("p95", "0.95"), ("p99", "0.99")] {
            let seconds = Value::from(c[column].as_f64().map(|ms| ms / 1000.0));
            let with = |name| [("channel", name), ("quantile", quantile)];
            latency.add(&with(channel), &with("other"), &seconds);
        }
    }
    out.extend([requests, responders, latency]);
    let mut rings = Family::new("ring_bytes", "The size of a ring's segment.");
    for r in s.rows("rings") {
        let segment = r["segment"].to_string();
        rings.add(&[("ring", text(r, "ring")), ("segment", &segment)], &[], &r["bytes"]);
    }
    let mut sessions =
        Family::new("sessions", "Processes that are here, and those that are over and not buried.");
    for (state, alive) in [("alive", true), ("dead", false)] {
        let many = s.rows("sessions").iter().filter(|s| s["alive"] == alive).count();
        sessions.add(&[("state", state)], &[], &Value::from(many));
    }
    let mut notify = Family::new(
        "notify_queue_usage_ratio",
        "How full the queue of NOTIFY is; at 1 transactions that notify fail.",
    );
    notify.add(&[], &[], &s.value["notify"]);
    out.extend([rings, sessions, notify]);
    topics_and_leases(s, out);
}

fn topics_and_leases(s: &Snapshot, out: &mut Vec<Family>) {
    let mut subscriptions = Family::new(
        "topic_subscriptions",
        "Subscriptions to topics: active ones, standbys, and those that get all.",
    );
    for state in ["active", "standby", "all"] {
        let is = |o: &Value| match (o["single"] == true, o["active"] == true) {
            (false, _) => "all",
            (true, true) => "active",
            (true, false) => "standby",
        };
        let many = s.rows("subscriptions").iter().filter(|o| is(o) == state).count();
        subscriptions.add(&[("state", state)], &[], &Value::from(many));
    }
    let mut gaps = Family::new(
        "topic_gaps",
        "How often the subscriptions that are here were told that something may be missing.",
    );
    gaps.add(&[], &[], &Value::from(s.sum("subscriptions", "gaps")));
    let mut held = Family::new("lease_held", "1 while somebody holds the lease.");
    let mut waiting = Family::new("lease_waiting", "Who wait for the lease.");
    let mut fence = Family::largest("lease_fence", "The fence of the lease: how often it was taken.");
    for l in s.rows("leases") {
        let own = [("lease", text(l, "name"))];
        let other = [("lease", "other")];
        held.add(&own, &other, &Value::from(u8::from(!l["held_by"].is_null())));
        waiting.add(&own, &other, &l["waiting"]);
        fence.add(&own, &other, &l["fence"]);
    }
    out.extend([subscriptions, gaps, held, waiting, fence]);
}

fn jobs(s: &Snapshot, out: &mut Vec<Family>) {
    let mut jobs = Family::new("jobs", "Jobs by state. Done ones are kept for a while.");
    let mut oldest = Family::largest(
        "job_oldest_waiting_seconds",
        "For how long the oldest job that could run has waited.",
    );
    let mut paused = Family::new("queue_paused", "1 while the queue is paused.");
    for q in s.rows("queues") {
        let queue = text(q, "queue");
        for state in STATES {
            let with = |name| [("queue", name), ("state", state)];
            jobs.add(&with(queue), &with("other"), &q[state]);
        }
        oldest.add(
            &[("queue", queue)],
            &[("queue", "other")],
            &Value::from(q["oldest"].as_f64().unwrap_or(0.0)),
        );
        let stands = Value::from(u8::from(!q["paused_at"].is_null()));
        paused.add(&[("queue", queue)], &[("queue", "other")], &stands);
    }
    out.extend([jobs, oldest, paused]);
}

fn streams(s: &Snapshot, out: &mut Vec<Family>) {
    let mut events = Family::new("stream_events", "Events that can still be read.");
    for row in s.rows("streams") {
        events.add(&[("stream", text(row, "stream"))], &[("stream", "other")], &row["events"]);
    }
    let mut lag = Family::largest(
        "stream_consumer_lag_seconds",
        "For how long the oldest event that a consumer has not finished waits.",
    );
    let mut backlog = Family::new(
        "stream_consumer_lag_events",
        "Events that a consumer has not finished, as the ticks tell.",
    );
    let mut dead = Family::new("stream_consumer_dead_letters", "Dead letters of a consumer.");
    for c in s.rows("consumers") {
        let own = [("stream", text(c, "stream")), ("consumer", text(c, "consumer"))];
        let other = [("stream", "other"), ("consumer", "other")];
        lag.add(&own, &other, &c["lag"]);
        backlog.add(&own, &other, &c["estimate"]);
        dead.add(&own, &other, &c["dead"]);
    }
    out.extend([events, lag, backlog, dead]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_summed_and_labels_are_escaped() {
        let mut family = Family::new("x", "X.");
        for n in 0..600 {
            let name = format!("q{n:03}");
            family.add(&[("queue", &name)], &[("queue", "other")], &Value::from(1));
        }
        assert_eq!(family.series.len(), SERIES + 1);
        assert_eq!(family.series[&vec![("queue", "other".to_owned())]], 100.0);
        assert_eq!(label(&[("q", "a\"b\\c\nd".to_owned())]), "{q=\"a\\\"b\\\\c\\nd\"}");
    }
}
