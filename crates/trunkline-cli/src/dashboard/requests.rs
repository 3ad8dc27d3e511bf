//! Requests: channels, live, with what became of the newest requests; the list; one request.

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Shared,
    frame::Frame,
    parts::{
        button, cell, crumbs, empty, encoded, facts, id, last_of_full, millis, number, payload, rate, size,
        span, state, text, when,
    },
    query,
};
use crate::http::{guard::Viewer, live::Snapshot, problem::Answer};

/// The requests on a page of the list.
const PAGE: i32 = 100;

const OUTCOMES: [(&str, &str); 7] = [
    ("waiting", "waiting"),
    ("taken", "in flight"),
    ("ok", "ok"),
    ("failed", "failed"),
    ("timed_out", "timed out"),
    ("cancelled", "cancelled"),
    ("lost", "lost"),
];

fn tabs(here: &str) -> Markup {
    html! {
        nav.tabs aria-label="Requests" {
            @for (at, word) in [("/requests", "Channels"), ("/requests/list", "Newest requests")] {
                a href=(at) aria-current=[(at == here).then_some("page")] { (word) }
            }
        }
    }
}

pub(super) fn region(s: &Snapshot) -> Markup {
    html! {
        h1 { "Requests" }
        (tabs("/requests"))
        @if s.rows("channels").is_empty() {
            (empty("There is no channel yet.", &html! { code { "trunkline requests serve hash --echo" } " serves one." }))
        } @else {
            div.scroll { table.wide {
                thead { tr {
                    th { "Channel" } th.n { "Responders" } th.n { "Sent/s" } th.n { "Ended/s" }
                    @for (_, word) in OUTCOMES { th.n { (word) } }
                    th.n { "p50" } th.n { "p95" } th.n { "p99" } th.n { "Oldest" }
                } }
                tbody { @for c in s.rows("channels") {
                    @let name = text(c, "channel");
                    tr {
                        th scope="row" { a href={ "/requests/list?channel=" (encoded(name)) } { (name) } @if c["durable"] == true { " " span.tag { "durable" } } }
                        td.n { (cell(c, "responders")) }
                        td.n { (rate(c["sent_per_second"].as_f64().unwrap_or(0.0))) }
                        td.n { (rate(c["ended_per_second"].as_f64().unwrap_or(0.0))) }
                        @for (column, _) in OUTCOMES { td class=(if column == "lost" { "n dead" } else { "n" }) { (cell(c, column)) } }
                        td.n { (millis(&c["p50"])) } td.n { (millis(&c["p95"])) } td.n { (millis(&c["p99"])) }
                        td.n { @match c["oldest"].as_f64() { Some(s) => (span(s)), None => span.none { "–" } } }
                    }
                } }
            } }
            p.muted.small { "Outcomes and times are those of the newest 5 000 requests, of all channels together." }
        }
    }
}

#[derive(Debug, Deserialize)]
struct Listed {
    channel: Option<String>,
    before: Option<i64>,
}

pub(super) async fn list(State(app): Shared, viewer: Viewer, uri: Uri) -> Answer<Response> {
    let asked: Listed = query(&uri)?;
    let channel = asked.channel.filter(|c| !c.is_empty());
    let rows = app.data.requests(channel.as_deref(), PAGE, asked.before).await?;
    let region = html! {
        h1 { "Requests" }
        (tabs("/requests/list"))
        form.filters method="get" action="/requests/list" role="search" {
            label { "Channel" input name="channel" value=(channel.as_deref().unwrap_or_default()) autocomplete="off" spellcheck="false"; }
            button type="submit" { "Filter" }
        }
        @if rows.is_empty() { (empty("No request is kept.", &html! { "Requests are forgotten soon after their deadline." })) }
        @else { (table(&rows)) }
        @if let Some(last) = last_of_full(&rows, PAGE) {
            p.more { a href={ "/requests/list?channel=" (encoded(channel.as_deref().unwrap_or_default())) "&before=" (last) } { "Older ones" } }
        }
    };
    Ok(Frame::new(&viewer, &uri, "requests").page(&region))
}

fn table(rows: &[Value]) -> Markup {
    html! {
        div.scroll { table.wide {
            thead { tr { th { "Request" } th { "State" } th { "To" } th { "Type" } th { "Sent" } th { "Expires" } th.n { "Size" } th.n { "Attempt" } } }
            tbody { @for r in rows { tr {
                th scope="row" { a href={ "/requests/" (r["id"].as_i64().unwrap_or(0)) } { (r["id"].as_i64().unwrap_or(0)) } }
                td { (state(text(r, "state"))) }
                td.name { (text(r, "destination")) } td { (text(r, "type")) }
                td { (when(r, "sent_at")) } td { (when(r, "expires_at")) }
                td.n { (size(r["bytes"].as_i64().unwrap_or(0))) } td.n { (cell(r, "attempt")) }
            } } }
        } }
    }
}

pub(super) async fn page(
    State(app): Shared,
    viewer: Viewer,
    uri: Uri,
    Path(text_id): Path<String>,
) -> Answer<Response> {
    let id = id(&text_id, "request")?;
    let request = app.data.request(id, viewer.may_act()).await?;
    let region = one(&request, &viewer, viewer.may_act());
    let frame = Frame::new(&viewer, &uri, "requests").title(format!("Request {id}"));
    let frame = if ended(&request) { frame } else { frame.live(&format!("/live?page=request&id={id}")) };
    Ok(frame.page(&region))
}

/// It was answered, or nobody waits for an answer any more.
pub(super) fn ended(request: &Value) -> bool {
    !["waiting", "taken"].contains(&text(request, "state"))
}

/// A request with all that is known of it; `shown`: with its payload and its reply.
pub(super) fn one(r: &Value, viewer: &Viewer, shown: bool) -> Markup {
    let (word, own) = (text(r, "state"), number(r, "id").to_string());
    let back = format!("/requests/{own}");
    html! {
        (crumbs("/requests/list", "Requests", &html! { (text(r, "destination")) }))
        div.head { h1 { "Request " (own) } (state(word)) }
        @if ["waiting", "taken"].contains(&word) { div.acts.left {
            (button(viewer, "request_cancel", "Cancel", &[("request", own.as_str())], &back))
        } }
        (facts(&[
            ("type", html! { (text(r, "type")) }),
            ("sent by role", html! { (text(r, "role")) }),
            ("attempt", html! { (number(r, "attempt")) }),
            ("responder", html! { span.name { (text(r, "responder")) } }),
            ("code", html! { (text(r, "code")) }),
            ("size", html! { (size(number(r, "bytes"))) }),
            ("reply", html! { (size(number(r, "reply_bytes"))) }),
        ]))
        ol.timeline {
            li { (when(r, "sent_at")) span { "sent" } }
            @if !r["ended_at"].is_null() { li { (when(r, "ended_at")) span { (word) } } }
            @else { li.next { (when(r, "expires_at")) span { "deadline" } } }
        }
        section {
            h2 { "Payload " span.muted { (size(number(r, "bytes"))) } }
            @if shown {
                (part(r, "payload"))
                @if r["headers"].is_object() { h3 { "Headers" } (payload(&r["headers"].to_string())) }
                @if !r["reply_bytes"].is_null() { h3 { "Reply " span.muted { (size(number(r, "reply_bytes"))) } } (part(r, "reply")) }
            } @else {
                p.muted { "Hidden. Who reveals it is noted." }
                (button(viewer, "request_reveal", "Reveal", &[("request", own.as_str())], &back))
            }
        }
    }
}

/// A payload; bytes, and what another role has sent, are not told apart.
fn part(r: &Value, name: &str) -> Markup {
    match r[name].as_str() {
        Some(text) => payload(text),
        None => {
            html! { p.muted { "Bytes that are no text, or of a role whose messages this one may not see." } }
        }
    }
}
