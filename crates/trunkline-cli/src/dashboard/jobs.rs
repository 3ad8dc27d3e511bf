//! Jobs: the queues, live; the list of jobs with its filters; dead ones by their error; schedules.

use std::time::SystemTime;

use axum::{extract::State, http::Uri, response::Response};
use humantime::format_rfc3339_micros;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Shared,
    frame::Frame,
    parts::{button, cell, count, empty, encoded, rate, span, state, text, when},
    query,
};
use crate::{
    http::{data::JobFilter, guard::Viewer, live::Snapshot, problem::Answer},
    input,
};

pub(super) const STATES: [&str; 7] =
    ["waiting", "scheduled", "running", "retrying", "done", "dead", "cancelled"];
const PAGE: i32 = 50;

fn tabs(here: &str) -> Markup {
    html! {
        nav.tabs aria-label="Jobs" {
            @for (at, word) in [("/jobs", "Queues"), ("/jobs/list", "All jobs"), ("/jobs/dead", "Dead"), ("/schedules", "Schedules")] {
                a href=(at) aria-current=[(at == here).then_some("page")] { (word) }
            }
        }
    }
}

/// The queues.
pub(super) fn region(s: &Snapshot, viewer: &Viewer) -> Markup {
    html! {
        h1 { "Jobs" }
        (tabs("/jobs"))
        @if s.rows("queues").is_empty() {
            (empty("There is no queue yet.", &html! { "A queue is made by its first job: " code { "trunkline jobs push mail '{}'" } ", or " a href="/try" { "try it" } "." }))
        } @else {
            div.scroll { table.wide {
                thead { tr {
                    th scope="col" { "Queue" } th.n scope="col" { "In/s" } th.n scope="col" { "Out/s" }
                    @for s in STATES { th.n scope="col" { (s) } }
                    th.n scope="col" { "Oldest" } @if viewer.may_act() { th {} }
                } }
                tbody { @for q in s.rows("queues") { (queue(s, q, viewer)) } }
            } }
            @if let Some(q) = s.rows("queues").first().filter(|q| q["held_counted_at"].is_string()) {
                p.muted { "Many jobs are held (scheduled, with a key, dead, …): those were counted " (when(q, "held_counted_at")) "." }
            }
        }
    }
}

fn queue(s: &Snapshot, q: &Value, viewer: &Viewer) -> Markup {
    let name = text(q, "queue");
    let list = format!("/jobs/list?queue={}", encoded(name));
    let flows = s.flow.rates.get(name);
    let paused = !q["paused_at"].is_null();
    html! {
        tr {
            th scope="row" { a href=(list) { (name) } @if paused { " " (state("paused")) } @if q["durable"] == false { " " span.tag { "ephemeral" } }
                @if let Some(said) = limits(&q["limits"]) { p.muted.small { (said) } } }
            @for n in [flows.map(|r| r.0), flows.map(|r| r.1)] {
                td.n { @match n { Some(n) => (rate(n)), None => span.none { "–" } } }
            }
            @for s in STATES {
                td class=(if s == "dead" { "n dead" } else { "n" }) {
                    @if q[s].as_i64() > Some(0) { a href={ (list) "&state=" (s) } { (cell(q, s)) } } @else { (cell(q, s)) }
                }
            }
            td.n { @match q["oldest"].as_f64() { Some(s) => (span(s)), None => span.none { "–" } } }
            @if viewer.may_act() {
                td.acts { (button(viewer, if paused { "job_resume" } else { "job_pause" }, if paused { "Resume" } else { "Pause" }, &[("queue", name)], "/jobs")) }
            }
        }
    }
}

/// The limits of a queue in words; none where it has none.
fn limits(of: &Value) -> Option<String> {
    let number = |name: &str| of[name].as_i64().map(count);
    let rate =
        |limit: &str, period: &str| Some(format!("{} in {}", number(limit)?, span(of[period].as_f64()?)));
    let said = [
        number("max_running").map(|n| format!("{n} at once")),
        rate("rate_limit", "rate_period"),
        number("max_length").map(|n| format!("{n} wait")),
        number("key_max_running").map(|n| format!("{n} of a key at once")),
        rate("key_rate_limit", "key_rate_period").map(|r| format!("{r} of a key")),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    (!said.is_empty()).then(|| format!("at most {}", said.join(", ")))
}

/// The schedules.
pub(super) fn schedules(s: &Snapshot, viewer: &Viewer) -> Markup {
    html! {
        h1 { "Jobs" }
        (tabs("/schedules"))
        @if s.rows("schedules").is_empty() {
            (empty("There is no schedule yet.", &html! { code { "trunkline jobs cron add nightly '0 3 * * *' reports '{}'" } }))
        } @else {
            div.scroll { table.wide {
                thead { tr { th { "Schedule" } th { "Queue" } th { "Times" } th { "Next" } th { "Last" } th.n { "Fired" } @if viewer.may_act() { th {} } } }
                tbody { @for r in s.rows("schedules") {
                    @let name = text(r, "name");
                    @let paused = !r["paused_at"].is_null();
                    tr {
                        th scope="row" { (name) @if paused { " " (state("paused")) }
                            @if let Some(e) = r["error"].as_str() { p.bad.small { (e) } } }
                        td { a href={ "/jobs/list?queue=" (encoded(text(r, "queue"))) } { (text(r, "queue")) } }
                        td { code { (text(r, "cron")) } " " span.muted { (text(r, "zone")) } }
                        td { (when(r, "next_at")) }
                        td { @if let Some(id) = r["last_job"].as_i64() { a href={ "/jobs/" (id) } { (when(r, "last_at")) } } @else { (when(r, "last_at")) } }
                        td.n { (cell(r, "fires")) }
                        @if viewer.may_act() { td.acts {
                            (button(viewer, "job_schedule_run", "Run now", &[("schedule", name)], "/schedules"))
                            (button(viewer, if paused { "job_schedule_resume" } else { "job_schedule_pause" }, if paused { "Resume" } else { "Pause" }, &[("schedule", name)], "/schedules"))
                        } }
                    }
                } }
            } }
        }
    }
}

/// The filter of the list, as its form sends it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    queue: String,
    state: String,
    kind: String,
    key: String,
    payload: String,
    since: String,
    until: String,
    before: Option<i64>,
    cursor: Option<String>,
}

impl Asked {
    fn filter(&self) -> Answer<JobFilter> {
        let given = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
        // What is JSON is contained as such; all else is a part of the payload's text.
        let payload = given(&self.payload);
        let json = payload.as_deref().is_some_and(|p| p.starts_with(['{', '[']) && input::json(p).is_ok());
        let (payload, text) = if json { (payload, None) } else { (None, payload) };
        Ok(JobFilter {
            queue: given(&self.queue),
            state: given(&self.state),
            kind: given(&self.kind),
            key: given(&self.key),
            payload,
            text,
            before: self.before,
            ..JobFilter::between(&self.since, &self.until)?
        })
    }

    /// As a part of an address; ends with an ampersand.
    fn as_query(&self) -> String {
        let fields = [
            ("queue", &self.queue),
            ("state", &self.state),
            ("kind", &self.kind),
            ("key", &self.key),
            ("payload", &self.payload),
            ("since", &self.since),
            ("until", &self.until),
        ];
        let given = fields.iter().filter(|(_, v)| !v.is_empty());
        given.map(|(name, v)| format!("{name}={}&", encoded(v))).collect()
    }
}

/// The list of jobs that fit.
pub(super) async fn list(State(app): Shared, viewer: Viewer, uri: Uri) -> Answer<Response> {
    let asked: Asked = query(&uri)?;
    let filter = asked.filter()?;
    viewer.must_see(&filter)?;
    let page = app.data.jobs(&filter, PAGE).await?;
    let further = html! {
        @if let Some(next) = page.next {
            @let there = format!("/jobs/list?{}before={next}", asked.as_query());
            p.more {
                @if page.looked_back_to.is_null() { a href=(there) { "Older ones" } }
                @else { "Looked at what was pushed since " (when(&json!({ "at": page.looked_back_to }), "at")) ". " a href=(there) { "Look further" } }
            }
        }
    };
    let region = html! {
        h1 { "Jobs" }
        (tabs("/jobs/list"))
        (filters(&asked, &viewer))
        @if page.items.is_empty() && page.next.is_none() {
            (empty("No job fits.", &html! { a href="/jobs/list" { "Show all" } }))
        } @else {
            (bulk(&filter, &viewer, &uri))
            @if !page.items.is_empty() { (choice(&page.items, &viewer, &uri)) }
            (further)
        }
    };
    Ok(Frame::new(&viewer, &uri, "jobs").title("Jobs").page(&region))
}

fn filters(f: &Asked, viewer: &Viewer) -> Markup {
    html! {
        form.filters method="get" action="/jobs/list" role="search" {
            label { "Queue" input name="queue" value=(f.queue) autocomplete="off" spellcheck="false"; }
            label { "State" select name="state" {
                option value="" { "any" }
                @for s in STATES { option value=(s) selected[f.state == s] { (s) } }
            } }
            label { "Kind" input name="kind" value=(f.kind) autocomplete="off" spellcheck="false"; }
            label { "Key" input name="key" value=(f.key) autocomplete="off" spellcheck="false"; }
            @if viewer.may_act() { label.long { "Payload contains" input name="payload" value=(f.payload) placeholder="text, or {\"to\": \"a@b\"}" autocomplete="off" spellcheck="false"; } }
            label { "Pushed since" input name="since" value=(f.since) placeholder="15m" list="times" autocomplete="off" spellcheck="false"; }
            label { "and before" input name="until" value=(f.until) placeholder="2026-11-23T12:00Z" list="times" autocomplete="off" spellcheck="false"; }
            datalist id="times" { @for span in ["15m", "1h", "6h", "24h", "7d"] { option value=(span); } }
            button type="submit" { "Filter" }
        }
    }
}

/// What can be done to all that fit, where the queue is known.
fn bulk(f: &JobFilter, viewer: &Viewer, uri: &Uri) -> Markup {
    let (Some(queue), Some(of)) = (&f.queue, f.state.as_deref()) else {
        return html! {
            @if viewer.may_act() { p.muted.small { "To do something to all that fit, choose a queue and a state." } }
        };
    };
    let moment = |at: Option<SystemTime>| at.map(|at| format_rfc3339_micros(at).to_string());
    let (since, until) = (moment(f.since), moment(f.until));
    let fields: Vec<(&str, &str)> = [
        ("kind", &f.kind),
        ("key", &f.key),
        ("payload", &f.payload),
        ("containing", &f.text),
        ("since", &since),
        ("until", &until),
    ]
    .iter()
    .filter_map(|(name, v)| Some((*name, v.as_deref()?)))
    .collect();
    let target = [&[("queue", queue.as_str()), ("state", of)][..], &fields].concat();
    let back = uri.path_and_query().map_or("/jobs/list", |p| p.as_str());
    html! {
        @if viewer.may_act() {
            div.bulk {
                span.muted { "All that fit:" }
                @if ["dead", "cancelled", "retrying", "scheduled"].contains(&of) { (button(viewer, "job_retry_all", "Retry", &target, back)) }
                @if ["waiting", "scheduled", "retrying", "running"].contains(&of) { (button(viewer, "job_cancel_all", "Cancel", &target, back)) }
                @if ["dead", "cancelled", "done"].contains(&of) { (button(viewer, "job_delete_all", "Delete", &target, back)) }
            }
        }
    }
}

/// The jobs, each to be chosen, and what can be done to the choice.
fn choice(rows: &[Value], viewer: &Viewer, uri: &Uri) -> Markup {
    if !viewer.may_act() {
        return table(rows, false);
    }
    let back = uri.path_and_query().map_or("/jobs/list", |p| p.as_str());
    html! {
        form method="post" action="/act" {
            input type="hidden" name="csrf" value=(viewer.csrf);
            input type="hidden" name="back" value=(back);
            input type="hidden" name="chosen" value="yes";
            (table(rows, true))
            div.bulk {
                span.muted { "Those chosen:" }
                button type="submit" name="action" value="job_retry" { "Run now" }
                button.danger type="submit" name="action" value="job_cancel" { "Cancel" }
                button.danger type="submit" name="action" value="job_delete" { "Delete" }
            }
        }
    }
}

fn table(rows: &[Value], to_choose: bool) -> Markup {
    html! {
        div.scroll { table.wide {
            thead { tr { @if to_choose { th { span.small { "Choose" } } } th { "Job" } th { "State" } th { "Queue" } th { "Kind" } th { "Key" } th.n { "Attempt" } th { "Pushed" } th { "Due" } th { "Error" } } }
            tbody { @for r in rows {
                tr {
                    @if to_choose { @let id = r["id"].as_i64().unwrap_or(0); td { input type="checkbox" name="id" value=(id) aria-label={ "Job " (id) }; } }
                    th scope="row" { a href={ "/jobs/" (r["id"].as_i64().unwrap_or(0)) } { (r["id"].as_i64().unwrap_or(0)) } }
                    td { (state(text(r, "job_state"))) }
                    td { (text(r, "queue_name")) }
                    td { (text(r, "job_kind")) }
                    td { (text(r, "job_key")) }
                    td.n { (r["attempt"].as_i64().unwrap_or(0)) span.muted { "/" (r["max_attempts"].as_i64().unwrap_or(0)) } }
                    td { (when(r, "pushed_at")) }
                    td { (when(r, "due_at")) }
                    td.error { (text(r, "error").lines().next().unwrap_or_default()) }
                }
            } }
        } }
    }
}

/// Dead jobs by what they died of.
pub(super) async fn dead(State(app): Shared, viewer: Viewer, uri: Uri) -> Answer<Response> {
    let asked: Asked = query(&uri)?;
    let queue = asked.filter()?.queue;
    let (groups, next) = app.data.dead(queue.as_deref(), 100, asked.cursor.as_deref()).await?;
    let region = html! {
        h1 { "Jobs" }
        (tabs("/jobs/dead"))
        @if groups.is_empty() {
            (empty("No job is dead.", &html! { "Jobs come here that have failed at every attempt, with the error of the last." }))
        }
        ul.groups { @for g in &groups {
            @let (queue, kind) = (text(g, "queue_name"), text(g, "job_kind"));
            @let target = [("queue", queue), ("state", "dead"), ("kind", kind), ("cause", text(g, "cause"))];
            li {
                p.cause { strong.bad { (count(g["many"].as_i64().unwrap_or(0))) } " " code { (text(g, "cause")) } }
                p.muted { (queue) @if !kind.is_empty() { " · " (kind) } " · from " (when(g, "first_at")) " to " (when(g, "last_at"))
                    " · " a href={ "/jobs/" (g["last_id"].as_i64().unwrap_or(0)) } { "the newest" }
                    " · " a href={ "/jobs/list?state=dead&queue=" (encoded(queue)) "&kind=" (encoded(kind)) } { "all of this kind" } }
                details { summary { "The newest error in full" } pre.payload { (text(g, "error")) } }
                @if viewer.may_act() { div.acts.left {
                    (button(&viewer, "job_retry_all", "Retry these", &target, "/jobs/dead"))
                    (button(&viewer, "job_delete_all", "Delete these", &target, "/jobs/dead"))
                } }
            }
        } }
        @if let Some(next) = next {
            p.more { a href={ "/jobs/dead?queue=" (encoded(queue.as_deref().unwrap_or_default())) "&cursor=" (next) } { "More" } }
        }
    };
    Ok(Frame::new(&viewer, &uri, "jobs").title("Dead jobs").page(&region))
}
