//! The JSON API, `/api/v1`: all that the dashboard shows and does, for programs; `openapi.rs` describes it.
//!
//! Guarantees: ids are strings, so that no reader rounds them; lists come newest first with `next`, the cursor of what follows; errors
//! are `application/problem+json`. What acts goes through `action_do`, and is noted as from the dashboard.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    App,
    data::JobFilter,
    flow::POINTS,
    guard::Viewer,
    live::Snapshot,
    openapi,
    problem::{Answer, Problem},
    words,
};
use crate::dashboard::parts::last_of_full;

type Shared = State<Arc<App>>;

/// The most rows of a list.
const MOST: i32 = 1000;
/// Ten years.
pub(super) const LONGEST_DELAY: f64 = 315_360_000.0;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/openapi.json", get(|| async { json_of(openapi::document()) }))
        .merge(words::routes())
        .route("/api/v1/overview", get(overview))
        .route("/api/v1/queues", get(queues))
        .route("/api/v1/schedules", get(|app, uri| part(app, uri, "schedules")))
        .route("/api/v1/streams", get(|app, uri| part(app, uri, "streams")))
        .route("/api/v1/consumers", get(|app, uri| part(app, uri, "consumers")))
        .route("/api/v1/channels", get(|app, uri| part(app, uri, "channels")))
        .route("/api/v1/topics", get(topics))
        .route("/api/v1/subscriptions", get(|app, uri| part(app, uri, "subscriptions")))
        .route("/api/v1/leases", get(|app, uri| part(app, uri, "leases")))
        .route("/api/v1/processes", get(|app, uri| part(app, uri, "sessions")))
        .route("/api/v1/jobs", get(jobs).post(push))
        .route("/api/v1/jobs/{id}", get(job))
        .route("/api/v1/dead", get(dead))
        .route("/api/v1/requests", get(requests).post(send))
        .route("/api/v1/requests/{id}", get(request))
        .route("/api/v1/streams/{stream}/events", post(append))
        .route("/api/v1/streams/{stream}/consumers/{consumer}/dead", get(letters))
        .route("/api/v1/streams/{stream}/moves", get(moves))
        .route("/api/v1/findings", get(findings))
        .route("/api/v1/actions", get(actions).post(act))
}

pub(super) fn json_of(value: Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// Ids as strings: a number above 2^53 is another one to many readers.
pub(super) fn with_text_ids(mut value: Value) -> Value {
    const IDS: [&str; 9] =
        ["id", "job_id", "last_id", "last_job", "first_tick", "last_tick", "tick", "from_tick", "to_tick"];
    match &mut value {
        Value::Array(all) => all.iter_mut().for_each(|v| *v = with_text_ids(v.take())),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                let id = IDS.contains(&name.as_str()) && field.is_i64();
                *field = if id { json!(field.to_string()) } else { with_text_ids(field.take()) };
            }
        }
        _ => {}
    }
    value
}

/// What the address asks for, or what is wrong with it.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Answer<T> {
    Query::try_from_uri(uri).map(|Query(asked)| asked).map_err(|e| Problem::bad(e.body_text()))
}

/// A page of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    queue: Option<String>,
    state: Option<String>,
    kind: Option<String>,
    key: Option<String>,
    payload: Option<String>,
    text: Option<String>,
    since: Option<String>,
    until: Option<String>,
    channel: Option<String>,
    limit: Option<i32>,
    cursor: Option<String>,
}

/// Which part of a list that has no filter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    limit: Option<i32>,
    cursor: Option<String>,
}

impl From<Part> for Page {
    fn from(Part { limit, cursor }: Part) -> Self {
        Self { limit, cursor, ..Self::default() }
    }
}

impl Page {
    fn limit(&self) -> Answer<i32> {
        let limit = self.limit.unwrap_or(100);
        if (1..=MOST).contains(&limit) {
            Ok(limit)
        } else {
            Err(Problem::bad(format!("limit: from 1 to {MOST}, got {limit}")))
        }
    }

    fn cursor(&self) -> Answer<Option<i64>> {
        self.cursor
            .as_deref()
            .map(id)
            .transpose()
            .map_err(|_| Problem::bad("cursor: not one that was given out here"))
    }
}

pub(super) fn id(text: &str) -> Answer<i64> {
    text.parse().ok().filter(|n| *n >= 0).ok_or_else(|| Problem::bad("id: a whole number from 0 on"))
}

/// Rows, and where to go on.
fn listed(rows: Vec<Value>, limit: i32) -> Response {
    let last = last_of_full(&rows, limit);
    json_of(json!({ "items": with_text_ids(Value::Array(rows)), "next": last.map(|n| n.to_string()) }))
}

async fn overview(State(app): Shared, uri: Uri) -> Answer<Response> {
    let Charts { points } = query(&uri)?;
    if points > POINTS {
        return Err(Problem::bad(format!("points: from 0 to {POINTS}, got {points}")));
    }
    let snapshot = app.live.now().await?;
    let mut all = with_text_ids(snapshot.value.clone());
    all["queues"] = queues_of(&snapshot);
    let flowed = &snapshot.flow.points;
    all["per_second"] = json!(flowed.last());
    all["points"] = json!(flowed[flowed.len().saturating_sub(points)..]);
    Ok(json_of(all))
}

/// How much of the charts is wanted: so many of the newest points.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Charts {
    #[serde(default)]
    points: usize,
}

/// The queues, each with what flows.
fn queues_of(snapshot: &Snapshot) -> Value {
    let mut all = with_text_ids(snapshot.value["queues"].clone());
    for queue in all.as_array_mut().into_iter().flatten() {
        let rate = queue["queue"].as_str().and_then(|name| snapshot.flow.rates.get(name));
        queue["pushed_per_second"] = json!(rate.map(|r| r.0));
        queue["ended_per_second"] = json!(rate.map(|r| r.1));
    }
    all
}

async fn queues(State(app): Shared, uri: Uri) -> Answer<Response> {
    let _: Nothing = query(&uri)?;
    let snapshot = app.live.now().await?;
    Ok(json_of(json!({ "items": queues_of(&snapshot), "next": null })))
}

async fn part(State(app): Shared, uri: Uri, part: &'static str) -> Answer<Response> {
    let _: Nothing = query(&uri)?;
    let snapshot = app.live.now().await?;
    Ok(json_of(json!({ "items": with_text_ids(snapshot.value[part].clone()), "next": null })))
}

async fn topics(State(app): Shared, uri: Uri) -> Answer<Response> {
    let _: Nothing = query(&uri)?;
    let snapshot = app.live.with_topics().await?;
    Ok(json_of(json!({ "items": snapshot.value["topics"], "next": null })))
}

/// No parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn jobs(State(app): Shared, viewer: Viewer, uri: Uri) -> Answer<Response> {
    let page: Page = query(&uri)?;
    let (limit, before) = (page.limit()?, page.cursor()?);
    let Page { queue, state, kind, key, payload, text, since, until, .. } = page;
    let (since, until) = (since.unwrap_or_default(), until.unwrap_or_default());
    let filter =
        JobFilter { queue, state, kind, key, payload, text, before, ..JobFilter::between(&since, &until)? };
    viewer.must_see(&filter)?;
    let page = app.data.jobs(&filter, limit).await?;
    Ok(json_of(json!({
        "items": with_text_ids(Value::Array(page.items)),
        "next": page.next.map(|n| n.to_string()),
        "looked_back_to": page.looked_back_to,
    })))
}

/// What who may not act sees only once that is noted.
fn hide(of: &mut Value, viewer: &Viewer) {
    for hidden in ["payload", "base64", "reply", "result", "headers"] {
        if let Some(value) = of.get_mut(hidden).filter(|_| !viewer.may_act()) {
            *value = Value::Null;
        }
    }
}

async fn job(State(app): Shared, viewer: Viewer, Path(text): Path<String>) -> Answer<Response> {
    let mut job = app.data.job(id(&text)?).await?;
    hide(&mut job, &viewer);
    Ok(json_of(with_text_ids(job)))
}

async fn dead(State(app): Shared, uri: Uri) -> Answer<Response> {
    let page: Page = query(&uri)?;
    let (rows, next) = app.data.dead(page.queue.as_deref(), page.limit()?, page.cursor.as_deref()).await?;
    Ok(json_of(json!({ "items": with_text_ids(Value::Array(rows)), "next": next })))
}

async fn requests(State(app): Shared, uri: Uri) -> Answer<Response> {
    let page: Page = query(&uri)?;
    let limit = page.limit()?;
    Ok(listed(app.data.requests(page.channel.as_deref(), limit, page.cursor()?).await?, limit))
}

async fn request(State(app): Shared, viewer: Viewer, Path(text): Path<String>) -> Answer<Response> {
    let mut request = app.data.request(id(&text)?, viewer.may_act()).await?;
    hide(&mut request, &viewer);
    Ok(json_of(with_text_ids(request)))
}

async fn letters(
    State(app): Shared,
    viewer: Viewer,
    uri: Uri,
    Path((stream, consumer)): Path<(String, String)>,
) -> Answer<Response> {
    let page = Page::from(query::<Part>(&uri)?);
    let limit = page.limit()?;
    let mut letters = app.data.letters(&stream, &consumer, limit, page.cursor()?).await?;
    letters.iter_mut().for_each(|letter| hide(letter, &viewer));
    Ok(listed(letters, limit))
}

async fn moves(State(app): Shared, uri: Uri, Path(stream): Path<String>) -> Answer<Response> {
    let page = Page::from(query::<Part>(&uri)?);
    let limit = page.limit()?;
    Ok(listed(app.data.moves(Some(&stream), limit, page.cursor()?).await?, limit))
}

async fn findings(State(app): Shared) -> Answer<Response> {
    Ok(json_of(json!({ "items": app.data.findings().await?, "next": null })))
}

async fn actions(State(app): Shared, uri: Uri) -> Answer<Response> {
    let page: Page = query(&uri)?;
    let limit = page.limit()?;
    Ok(listed(app.data.actions(limit, page.cursor()?).await?, limit))
}

pub(super) fn body<T: DeserializeOwned>(bytes: &Bytes) -> Answer<T> {
    serde_json::from_slice(bytes).map_err(|e| Problem::bad(format!("the body is not what is expected: {e}")))
}

/// An action, as `action_do` takes it; ids may be strings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    action: String,
    target: serde_json::Map<String, Value>,
}

async fn act(State(app): Shared, viewer: Viewer, bytes: Bytes) -> Answer<Response> {
    let Act { action, target } = body(&bytes)?;
    viewer.must_be_allowed(&action)?;
    let result = app.data.act(&viewer.who, &action, &Value::Object(target)).await?;
    app.live.outdate();
    Ok(json_of(json!({ "result": result })))
}

type Headers = Option<serde_json::Map<String, Value>>;

/// A job, as `job_push` takes it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct NewJob {
    #[serde(skip_serializing)]
    queue: String,
    #[serde(skip_serializing)]
    payload: String,
    kind: Option<String>,
    key: Option<String>,
    unique_key: Option<String>,
    priority: Option<i32>,
    max_attempts: Option<i32>,
    headers: Headers,
    run_at: Option<String>,
    delay_seconds: Option<f64>,
    options: Option<serde_json::Map<String, Value>>,
}

/// An event, as `stream_append` takes it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct NewEvent {
    #[serde(skip_serializing)]
    payload: String,
    kind: Option<String>,
    key: Option<String>,
    headers: Headers,
}

/// A request, as `request_send` takes it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct NewRequest {
    #[serde(skip_serializing)]
    channel: String,
    #[serde(skip_serializing)]
    payload: String,
    kind: Option<String>,
    headers: Headers,
    timeout_ms: Option<u32>,
    #[serde(default)]
    idempotent: bool,
}

async fn push(app: Shared, viewer: Viewer, bytes: Bytes) -> Answer<Response> {
    let job: NewJob = body(&bytes)?;
    if job.run_at.is_some() && job.delay_seconds.is_some() {
        return Err(Problem::bad("run_at or delay_seconds, not both"));
    }
    if job.delay_seconds.is_some_and(|s| !(0.0..=LONGEST_DELAY).contains(&s)) {
        return Err(Problem::bad(format!("delay_seconds: from 0 to {LONGEST_DELAY}")));
    }
    produce(app, viewer, "job", (&job.queue, &job.payload), &job).await
}

async fn send(app: Shared, viewer: Viewer, bytes: Bytes) -> Answer<Response> {
    let request: NewRequest = body(&bytes)?;
    produce(app, viewer, "request", (&request.channel, &request.payload), &request).await
}

async fn append(app: Shared, viewer: Viewer, Path(stream): Path<String>, bytes: Bytes) -> Answer<Response> {
    let event: NewEvent = body(&bytes)?;
    produce(app, viewer, "event", (&stream, &event.payload), &event).await
}

async fn produce(
    State(app): Shared,
    viewer: Viewer,
    word: &str,
    (to, payload): (&str, &str),
    more: &impl Serialize,
) -> Answer<Response> {
    viewer.must_act()?;
    let more = serde_json::to_value(more).map_err(|e| Problem::bad(e.to_string()))?;
    let id = app.data.produce(word, to, payload, &more).await?;
    Ok((StatusCode::CREATED, json_of(json!({ "id": id.to_string() }))).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_text_wherever_they_are() {
        let value =
            json!({ "id": 9_007_199_254_740_993_i64, "n": 1, "rows": [{ "last_id": 5, "name": "x" }] });
        let told = with_text_ids(value);
        assert_eq!(
            told,
            json!({ "id": "9007199254740993", "n": 1, "rows": [{ "last_id": "5", "name": "x" }] })
        );
    }
}
