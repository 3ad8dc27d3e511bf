//! A job with all that is known of it: its attempts, its payload, and what can be done.

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use maud::{Markup, html};
use serde_json::Value;

use super::{
    Shared,
    frame::Frame,
    parts::{button, crumbs, encoded, facts, id, number, payload, size, state, text, when},
};
use crate::http::{guard::Viewer, problem::Answer};

pub(super) async fn page(
    State(app): Shared,
    viewer: Viewer,
    uri: Uri,
    Path(text): Path<String>,
) -> Answer<Response> {
    let id = id(&text, "job")?;
    let job = app.data.job(id).await?;
    let region = region(&job, &viewer, viewer.may_act());
    let frame = Frame::new(&viewer, &uri, "jobs").title(format!("Job {id}"));
    let frame = if ended(&job) { frame } else { frame.live(&format!("/live?page=job&id={id}")) };
    Ok(frame.page(&region))
}

/// Nothing more happens to it: dead and cancelled ones may be run once more.
pub(super) fn ended(job: &Value) -> bool {
    text(job, "state") == "done"
}

/// `shown`: with its payload.
pub(super) fn region(job: &Value, viewer: &Viewer, shown: bool) -> Markup {
    let id = number(job, "job_id").to_string();
    let word = text(job, "state");
    let (back, target) = (format!("/jobs/{id}"), [("id", id.as_str())]);
    let queue = text(job, "queue");
    html! {
        (crumbs("/jobs", "Jobs", &html! { a href={ "/jobs/list?queue=" (encoded(queue)) } { (queue) } }))
        div.head { h1 { "Job " (id) } (state(word)) }
        @if viewer.may_act() { div.acts.left {
            @if ["dead", "cancelled", "scheduled", "retrying"].contains(&word) { (button(viewer, "job_retry", "Run now", &target, &back)) }
            @if ["waiting", "scheduled", "retrying", "running"].contains(&word) { (button(viewer, "job_cancel", "Cancel", &target, &back)) }
            @if ["dead", "cancelled", "done"].contains(&word) { (button(viewer, "job_delete", "Delete", &target, &format!("/jobs/list?queue={}", encoded(queue)))) }
            (button(viewer, "job_copy", "Push a copy", &target, &back))
        } }
        (facts(&known(job)))
        section { h2 { "What happened" } (timeline(job, word)) }
        section {
            h2 { "Payload " span.muted { (size(number(job, "bytes"))) } }
            @if shown {
                @if let Some(text) = job["payload"].as_str() { (payload(text)) }
                @else if let Some(base64) = job["base64"].as_str() { p.muted { "Bytes, in base64:" } (payload(base64)) }
                @if job["headers"].is_object() { h3 { "Headers" } (payload(&job["headers"].to_string())) }
                @if let Some(text) = job["result"].as_str() { h3 { "Result" } (payload(text)) }
            } @else {
                p.muted { "Hidden. Who reveals it is noted." }
                (button(viewer, "job_reveal", "Reveal", &target, &back))
            }
        }
    }
}

fn known(job: &Value) -> Vec<(&'static str, Markup)> {
    let mut all = vec![
        ("kind", html! { (text(job, "kind")) }),
        ("priority", html! { (number(job, "priority")) }),
        ("attempt", html! { (number(job, "attempt")) " of " (number(job, "max_attempts")) }),
    ];
    let some = [("key", "key"), ("unique key", "unique_key"), ("worker", "worker")];
    all.extend(some.iter().filter_map(|(name, column)| {
        let v = job[*column].as_str()?;
        Some((*name, html! { (v) }))
    }));
    if let Some(percent) = job["progress"].as_i64() {
        all.push(("progress", html! { (percent) " % " (text(job, "progress_message")) }));
    }
    all
}

fn timeline(job: &Value, word: &str) -> Markup {
    // When an attempt began is known of the newest one alone; after "run now" they are counted anew.
    let attempt = number(job, "attempt");
    let began = html! {
        @if !job["begun_at"].is_null() && attempt > 0 { li { (when(job, "begun_at")) span { "attempt " (attempt) " began" } } }
    };
    let errors = job["errors"].as_array().map_or(&[][..], Vec::as_slice);
    let closes = |e: &Value| number(e, "attempt") == attempt && text(e, "at") >= text(job, "begun_at");
    let failed = errors.last().is_some_and(closes);
    html! {
        ol.timeline {
            li { (when(job, "pushed_at")) span { "pushed" } }
            @for (n, e) in errors.iter().enumerate() {
                @if failed && n + 1 == errors.len() { (began) }
                li.failed {
                    (when(e, "at"))
                    div { span { "attempt " (number(e, "attempt")) " failed" } pre.payload { (text(e, "error")) } }
                }
            }
            @if !failed { (began) }
            @if !job["ended_at"].is_null() { li class=(if word == "done" { "good" } else { "failed" }) { (when(job, "ended_at")) span { (word) } } }
            @else if ["scheduled", "retrying"].contains(&word) { li.next { (when(job, "due_at")) span { "comes " @if word == "retrying" { "again" } } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_happened_is_told_in_its_order() {
        let error =
            |n: i64| json!({ "attempt": n, "at": format!("2026-01-01T10:00:0{n}.5+00:00"), "error": "no" });
        let mut job = json!({ "pushed_at": "2026-01-01T10:00:00+00:00", "begun_at": "2026-01-01T10:00:02+00:00", "attempt": 2,
            "ended_at": "2026-01-01T10:00:03+00:00", "errors": [error(1), error(2)] });
        let told = |job: &Value, word| {
            let html = timeline(job, word).into_string();
            let words = [
                "pushed",
                "attempt 1 failed",
                "attempt 2 began",
                "attempt 2 failed",
                "dead",
                "attempt 1 began",
                "attempt 0",
            ];
            let mut found: Vec<(usize, &str)> =
                words.iter().flat_map(|w| html.match_indices(w).map(|(at, _)| (at, *w))).collect();
            found.sort_unstable();
            found.into_iter().map(|(_, w)| w).collect::<Vec<_>>()
        };
        let all = ["pushed", "attempt 1 failed", "attempt 2 began", "attempt 2 failed", "dead"];
        assert_eq!(told(&job, "dead"), all);
        (job["errors"], job["ended_at"]) = (json!([error(1)]), Value::Null);
        assert_eq!(told(&job, "running"), &all[..3]);
        // Run once more after it was dead: it waits, and its first attempt begins.
        (job["errors"], job["attempt"]) = (json!([error(1), error(2)]), json!(0));
        assert_eq!(told(&job, "waiting"), ["pushed", "attempt 1 failed", "attempt 2 failed"]);
        (job["begun_at"], job["attempt"]) = (json!("2026-01-01T11:00:00+00:00"), json!(1));
        assert_eq!(
            told(&job, "running"),
            ["pushed", "attempt 1 failed", "attempt 2 failed", "attempt 1 began"]
        );
    }
}
