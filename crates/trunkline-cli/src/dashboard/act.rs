//! What buttons do: one address for all of it, so that there is one place that asks, acts and says what was done.
//!
//! What destroys something, or is about many, is asked about first, with the number of them. Every act is noted (`action_do`).

use axum::{
    extract::{Form, State},
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Redirect, Response},
};
use maud::html;
use serde_json::{Map, Value, json};

use super::{Shared, frame::Frame, parts::count, query, reveal};
use crate::http::{
    App,
    guard::Viewer,
    problem::{Answer, Problem},
};

/// What can be done: name, whether it is asked about first, what it is, what is said of it after.
pub(super) const ACTIONS: [(&str, bool, &str, &str); 23] = [
    ("job_retry", false, "run the job now", "It can run now."),
    ("job_cancel", true, "cancel the job", "It is cancelled; if it runs, its handler was told."),
    ("job_delete", true, "delete the job", "It is deleted."),
    ("job_copy", false, "push a copy", "A copy was pushed."),
    ("job_reveal", false, "reveal the payload", ""),
    ("job_retry_all", true, "retry", "They can run now"),
    ("job_cancel_all", true, "cancel", "They are cancelled"),
    ("job_delete_all", true, "delete", "They are deleted"),
    ("job_pause", false, "pause the queue", "The queue is paused."),
    ("job_resume", false, "resume the queue", "The queue goes on."),
    ("job_schedule_run", false, "run the schedule now", "Its job was pushed."),
    ("job_schedule_pause", false, "pause the schedule", "The schedule is paused."),
    ("job_schedule_resume", false, "resume the schedule", "The schedule goes on."),
    ("request_cancel", true, "cancel the request", "It is cancelled."),
    ("lease_resign", true, "ask the holder to hand the lease over", "The holder was asked to hand it over."),
    (
        "lease_revoke",
        true,
        "take the lease away",
        "It was taken away: what its holder guards is refused from now on.",
    ),
    ("stream_seek", true, "move the consumer", "The consumer was moved."),
    ("stream_replay", true, "replay", "They come again"),
    ("stream_purge", true, "delete", "They are deleted"),
    ("request_reveal", false, "reveal the payload", ""),
    ("stream_reveal", false, "reveal the payload", ""),
    ("stream_peek", false, "peek at the newest events", ""),
    ("topic_peek", false, "peek at the newest messages", ""),
];
/// The fields of a target.
const FIELDS: [&str; 17] = [
    "id",
    "lease",
    "queue",
    "state",
    "kind",
    "key",
    "payload",
    "containing",
    "since",
    "until",
    "cause",
    "schedule",
    "stream",
    "consumer",
    "topic",
    "at",
    "request",
];
/// Those that say something when they are empty.
const EMPTY: [&str; 2] = ["kind", "cause"];

/// Why one that ended was not deleted.
const KEPT: &str = "It has not ended; or it ended without ever being held, and goes with the segment of the ring that it is in.";

/// The most jobs that are chosen at a time: a page of them.
const MOST_CHOSEN: usize = 200;

type Fields = Vec<(String, String)>;

pub(super) async fn act(
    State(app): Shared,
    viewer: Viewer,
    uri: Uri,
    form: Result<Form<Fields>, axum::extract::rejection::FormRejection>,
) -> Answer<Response> {
    let Form(fields) = form.map_err(|_| Problem::bad("this is no form"))?;
    let field = |name: &str| fields.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
    let known = ACTIONS.iter().find(|(name, ..)| *name == field("action"));
    let (action, asks, what, _) = *known.ok_or_else(|| Problem::bad("there is no such action"))?;
    viewer.must_be_allowed(action)?;
    let mut target = Map::new();
    for (name, value) in &fields {
        let said = !value.is_empty() || EMPTY.contains(&name.as_str());
        if said && FIELDS.contains(&name.as_str()) {
            target.insert(name.clone(), json!(value));
        }
    }
    let back = local(field("back"));
    let many = action.ends_with("_all");
    let chosen: Vec<&str> =
        fields.iter().filter(|(n, v)| n == "id" && !v.is_empty()).map(|(_, v)| v.as_str()).collect();
    if field("chosen") == "yes" {
        return act_on_each(&app, &viewer, &uri, (action, what), &chosen, (back, field("confirm") == "yes"))
            .await;
    }
    let one = action == "stream_replay" && !chosen.is_empty();
    if asks && !one && field("confirm") != "yes" {
        let mut number = None;
        if action == "stream_replay" || action == "stream_purge" {
            number = if chosen.is_empty() { letters(&app, &target).await? } else { Some(1) };
        } else if many {
            target.insert("dry_run".to_owned(), json!(true));
            number = app.data.act(&viewer.who, action, &Value::Object(target.clone())).await?.as_i64();
            target.remove("dry_run");
        }
        let asked: Vec<(&str, &str)> =
            target.iter().map(|(name, v)| (name.as_str(), v.as_str().unwrap_or_default())).collect();
        return Ok(question(&viewer, &uri, action, what, number, &asked, back));
    }
    let result = app.data.act(&viewer.who, action, &Value::Object(target.clone())).await?;
    if let Some(page) = reveal::page(&app, &viewer, &uri, action, &target, &result).await? {
        return Ok(page);
    }
    app.live.outdate();
    let nothing = result == json!(false) || result.is_null();
    let n = result.as_i64().filter(|_| many || action == "stream_replay" || action == "stream_purge");
    let sign = if back.contains('?') { '&' } else { '?' };
    let said = match (nothing, action) {
        (true, "job_delete") => "kept",
        (true, _) => "nothing",
        (false, _) => action,
    };
    let n = n.map_or(String::new(), |n| format!("&n={n}"));
    Ok(Redirect::to(&format!("{back}{sign}done={said}{n}")).into_response())
}

/// How many dead letters a consumer has now.
async fn letters(app: &App, target: &Map<String, Value>) -> Answer<Option<i64>> {
    app.live.outdate();
    let snapshot = app.live.now().await?;
    let consumer = snapshot
        .rows("consumers")
        .iter()
        .find(|c| ["stream", "consumer"].iter().all(|name| target.get(*name) == Some(&c[*name])));
    Ok(consumer.and_then(|c| c["dead"].as_i64()))
}

/// The jobs that were chosen in a list, one by one, each noted by itself: one that has ended meanwhile stops no other.
async fn act_on_each(
    app: &App,
    viewer: &Viewer,
    uri: &Uri,
    (action, what): (&str, &str),
    ids: &[&str],
    (back, confirmed): (&str, bool),
) -> Answer<Response> {
    if !["job_retry", "job_cancel", "job_delete"].contains(&action) || ids.len() > MOST_CHOSEN {
        return Err(Problem::bad("this cannot be done to a choice of jobs"));
    }
    let what = what.trim_end_matches(" the job").trim_start_matches("run the job ");
    if !confirmed && !ids.is_empty() {
        let mut target: Vec<(&str, &str)> = ids.iter().map(|id| ("id", *id)).collect();
        target.push(("chosen", "yes"));
        let number = i64::try_from(ids.len()).ok();
        return Ok(question(viewer, uri, action, what, number, &target, back));
    }
    let mut done = 0;
    for id in ids {
        match app.data.act(&viewer.who, action, &json!({ "id": id })).await {
            Ok(result) => done += i64::from(result != json!(false) && !result.is_null()),
            Err(problem) if [StatusCode::NOT_FOUND, StatusCode::CONFLICT].contains(&problem.status) => {}
            Err(problem) => return Err(problem),
        }
    }
    let sign = if back.contains('?') { '&' } else { '?' };
    Ok(Redirect::to(&format!("{back}{sign}done={action}_all&n={done}")).into_response())
}

/// A page that asks whether that is meant.
fn question(
    viewer: &Viewer,
    uri: &Uri,
    action: &str,
    what: &str,
    number: Option<i64>,
    target: &[(&str, &str)],
    back: &str,
) -> Response {
    let of = if action.starts_with("stream_") { "dead letter" } else { "job" };
    let region = html! {
        section.question {
            h1 { "Do you mean to " (what) @if let Some(n) = number { " " (count(n)) " " (of) @if n != 1 { "s" } } "?" }
            @if number == Some(0) && action == "job_delete_all" { p.muted { (KEPT) } }
            dl.facts.wide { @for (name, value) in target { @if !value.is_empty() && *name != "chosen" { div { dt { (name) } dd.name { (value) } } } } }
            form.acts.left method="post" action="/act" {
                input type="hidden" name="csrf" value=(viewer.csrf);
                input type="hidden" name="action" value=(action);
                input type="hidden" name="back" value=(back);
                input type="hidden" name="confirm" value="yes";
                @for (name, value) in target { input type="hidden" name=(name) value=(value); }
                @if number != Some(0) { button.danger.strong type="submit" { "Yes, " (what) } }
                a.button href=(back) autofocus { "No" }
            }
        }
    };
    Frame::new(viewer, uri, "").title("Sure?").page(&region)
}

/// A way back that leads to a page of ours, whatever was sent.
fn local(back: &str) -> &str {
    let fine = back.starts_with('/')
        && !back.starts_with("//")
        && !back.contains('\\')
        && back.bytes().all(|b| b.is_ascii_graphic());
    if fine { back } else { "/" }
}

/// What was done, as the address of the page after it says: a word of the table and a number, nothing else.
pub(super) fn done(uri: &Uri) -> Option<String> {
    let fields: Fields = query(uri).ok()?;
    let field = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let action = field("done")?;
    if action == "nothing" {
        return Some("Nothing was changed: it had ended, or was so already.".to_owned());
    }
    if action == "kept" {
        return Some(KEPT.to_owned());
    }
    let (.., said) = ACTIONS.iter().find(|(name, ..)| *name == action)?;
    let n: Option<i64> = field("n").and_then(|n| n.parse().ok());
    Some(n.map_or((*said).to_owned(), |n| format!("{said}: {}.", count(n))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_stays_here() {
        for fine in ["/jobs", "/jobs/list?queue=a&state=dead"] {
            assert_eq!(local(fine), fine);
        }
        for foreign in ["", "//evil", "https://evil", "/\\evil", "/a\nb", "/a b", "javascript:x"] {
            assert_eq!(local(foreign), "/", "{foreign:?}");
        }
    }

    #[test]
    fn what_was_done_is_said_in_our_own_words_alone() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        assert_eq!(
            done(&uri("/?done=job_retry_all&n=1200")).as_deref(),
            Some("They can run now: 1\u{202f}200.")
        );
        assert_eq!(done(&uri("/?done=%3Cscript%3E")), None);
        assert_eq!(done(&uri("/jobs")), None);
    }
}
