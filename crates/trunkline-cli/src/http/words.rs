//! The words, for programs of any language: call and wait for the reply, publish, register a consumer, read a batch and finish it,
//! and hear topics by server-sent events. Push, append and send are in `api.rs`.
//!
//! Calls and subscriptions go through one connection of the library, made when first wanted. Batches are held by one session, which
//! stays as long as this process: when it ends, or loses the database, they go to others, and the old token finishes nothing.
//! Guarantees: a call ends within ten seconds, with one outcome; who hears topics and does not read fast enough is told of a gap. Does
//! not guarantee that what was sent over a stream of events was read: for that, read batches.

use std::{
    convert::Infallible,
    future::IntoFuture as _,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::stream::unfold;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::{
    sync::{OnceCell, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};
use trunkline::{
    Trunkline,
    conninfo::ConnInfo,
    requests::Payload,
    topics::{Event, Kind, OnFull, Subscribe, Subscription},
};

use super::{
    App,
    api::{body, id, json_of, query, with_text_ids},
    guard::Viewer,
    problem::{Answer, Problem},
};

/// The longest that a call may wait, and how long it waits unless told.
const LONGEST_CALL: u32 = 10_000;
const USUAL_CALL: u32 = 5_000;
/// How long a stream of messages lasts; then the client is to prove itself anew.
const LISTEN: Duration = Duration::from_secs(3600);
/// A line that says nothing, so that who went away is noticed.
const QUIET: Duration = Duration::from_secs(15);
/// How many may hear topics at a time; who comes beyond them is told 503.
const LISTENERS: usize = 64;
/// The most events of a batch.
const MOST_EVENTS: i32 = 1000;

type Shared = State<Arc<App>>;

/// The connection of the library, made when it is first wanted.
#[derive(Debug)]
pub(super) struct Words {
    info: ConnInfo,
    handle: OnceCell<Trunkline>,
}

impl Words {
    pub(super) fn new(info: ConnInfo) -> Self {
        Self { info, handle: OnceCell::new() }
    }

    async fn handle(&self) -> Answer<&Trunkline> {
        let connecting = async { Box::pin(Trunkline::with(self.info.clone())).await };
        Ok(self.handle.get_or_try_init(|| connecting).await?)
    }

    /// Leaves in order, if it was ever here.
    pub(super) async fn close(&self) {
        if let Some(handle) = self.handle.get() {
            handle.clone().close().await;
        }
    }
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/calls", post(call))
        .route("/api/v1/topics/{topic}/messages", get(listen).post(publish))
        .route("/api/v1/streams/{stream}/consumers/{consumer}", post(register))
        .route("/api/v1/streams/{stream}/consumers/{consumer}/batches", post(next_batch))
        .route("/api/v1/batches/{batch}/finish", post(finish))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    channel: String,
    payload: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    headers: Map<String, Value>,
    timeout_ms: Option<u32>,
    #[serde(default)]
    idempotent: bool,
}

fn header_text(value: &Value) -> Answer<String> {
    let text = value.as_str().ok_or_else(|| Problem::bad("headers: values are strings"))?;
    Ok(text.to_owned())
}

async fn call(State(app): Shared, viewer: Viewer, bytes: Bytes) -> Answer<Response> {
    viewer.must_act()?;
    let asked: Call = body(&bytes)?;
    let time = asked.timeout_ms.unwrap_or(USUAL_CALL);
    if !(1..=LONGEST_CALL).contains(&time) {
        return Err(Problem::bad(format!("timeout_ms: from 1 to {LONGEST_CALL}, got {time}")));
    }
    let requests = app.words.handle().await?.requests();
    let mut call = requests.call(asked.channel, asked.payload).kind(asked.kind);
    call = call.timeout(Duration::from_millis(time.into()));
    for (name, value) in &asked.headers {
        call = call.header(name, header_text(value)?);
    }
    if asked.idempotent {
        call = call.idempotent();
    }
    let reply = Box::pin(call.into_future()).await?;
    let mut told = json!({ "id": reply.id.to_string(), "headers": reply.headers });
    put(&mut told, &reply.payload);
    Ok(json_of(told))
}

/// The payload as text, or as base64 where it is none.
fn put(into: &mut Value, payload: &Payload) {
    match payload.text() {
        Ok(text) => into["payload"] = json!(text),
        Err(_) => into["base64"] = json!(BASE64_STANDARD.encode(payload.bytes())),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    payload: String,
    headers: Option<Map<String, Value>>,
    message_id: Option<String>,
    kind: Option<String>,
}

async fn publish(
    State(app): Shared,
    viewer: Viewer,
    Path(topic): Path<String>,
    bytes: Bytes,
) -> Answer<Response> {
    viewer.must_act()?;
    let m: Publish = body(&bytes)?;
    let headers = m.headers.map(Value::Object);
    let id = app
        .data
        .publish(&topic, &m.payload, headers.as_ref(), m.message_id.as_deref(), m.kind.as_deref())
        .await?;
    let id = id.as_i64().map(|id| id.to_string());
    Ok((StatusCode::CREATED, json_of(json!({ "id": id }))).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Register {
    at: Option<String>,
}

async fn register(
    State(app): Shared,
    viewer: Viewer,
    Path((stream, consumer)): Path<(String, String)>,
    bytes: Bytes,
) -> Answer<Response> {
    viewer.must_act()?;
    let asked: Register = body(&bytes)?;
    let made = app.data.register(&stream, &consumer, asked.at.as_deref().unwrap_or("end")).await?;
    Ok((StatusCode::CREATED, json_of(json!({ "created": made }))).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Next {
    #[serde(default)]
    member: String,
    mode: Option<String>,
    max: Option<i32>,
}

async fn next_batch(
    State(app): Shared,
    viewer: Viewer,
    Path((stream, consumer)): Path<(String, String)>,
    bytes: Bytes,
) -> Answer<Response> {
    viewer.must_act()?;
    let asked: Next = body(&bytes)?;
    let max = asked.max.unwrap_or(100);
    if !(1..=MOST_EVENTS).contains(&max) {
        return Err(Problem::bad(format!("max: from 1 to {MOST_EVENTS}, got {max}")));
    }
    let mode = asked.mode.as_deref().unwrap_or("fail");
    let batch = app.data.next_batch(&stream, &consumer, mode, &asked.member, max).await?;
    Ok(json_of(if batch.is_null() { json!({ "batch": null, "events": [] }) } else { with_text_ids(batch) }))
}

/// What is to come again, and when; without a delay it becomes a dead letter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Again {
    id: String,
    after_seconds: Option<f64>,
    cause: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Finish {
    #[serde(default)]
    retry: Vec<Again>,
}

async fn finish(
    State(app): Shared,
    viewer: Viewer,
    Path(batch): Path<String>,
    bytes: Bytes,
) -> Answer<Response> {
    viewer.must_act()?;
    let asked: Finish = body(&bytes)?;
    let mut again = Vec::new();
    for event in asked.retry {
        again.push((id(&event.id)?, event.after_seconds, event.cause));
    }
    app.data.finish(&batch, &again).await?;
    Ok(json_of(json!({ "finished": true })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listen {
    kind: Option<String>,
}

/// What a listener holds while it listens.
struct Hearing {
    subscription: Subscription,
    end: Instant,
    over: bool,
    _place: OwnedSemaphorePermit,
}

async fn listen(State(app): Shared, viewer: Viewer, Path(topic): Path<String>, uri: Uri) -> Answer<Response> {
    static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(LISTENERS)));
    viewer.must_act()?;
    let asked: Listen = query(&uri)?;
    let mut options = Subscribe::new([topic]).on_full(OnFull::DropOldest);
    match asked.kind.as_deref() {
        None => {}
        Some("channel") => options = options.kind(Kind::Channel),
        Some("volatile") => options = options.kind(Kind::Volatile),
        Some(_) => return Err(Problem::bad("kind: channel or volatile; durable topics are read as streams")),
    }
    let place = PLACES.clone().try_acquire_owned();
    let _place =
        place.map_err(|_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many listen already"))?;
    let subscription = app.words.handle().await?.topics().subscribe(options).await?;
    let hearing = Hearing { subscription, end: Instant::now() + LISTEN, over: false, _place };
    let events = unfold(hearing, |mut hearing| async move {
        if hearing.over {
            return None;
        }
        let text = timeout_at(hearing.end, heard(&mut hearing.subscription)).await;
        let text =
            text.unwrap_or_else(|_| Some(written("end", None, &json!({ "reason": "an hour is over" }))));
        // A stream that was ended by an error is over with its word.
        hearing.over = text.as_deref().is_none_or(|t| t.starts_with("event: end"));
        text.map(|text| (Ok::<_, Infallible>(Bytes::from(text)), hearing))
    });
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response())
}

/// The next thing to be told; none when the subscription has ended by itself.
async fn heard(subscription: &mut Subscription) -> Option<String> {
    let Ok(next) = timeout(QUIET, subscription.next()).await else {
        return Some(": \n\n".to_owned());
    };
    Some(match next {
        Ok(event) => told(&event?),
        Err(e) => written("end", None, &json!({ "reason": e.to_string() })),
    })
}

fn told(event: &Event) -> String {
    let time = |at| humantime::format_rfc3339_micros(at).to_string();
    match event {
        Event::Connected => written("connected", None, &json!({})),
        Event::Lost => written("lost", None, &json!({})),
        Event::Gap(gap) => written(
            "gap",
            None,
            &json!({ "since": time(gap.since), "until": time(gap.until), "missed": gap.missed }),
        ),
        Event::Message(m) => {
            let id = m.id().to_string();
            let mut data = json!({ "id": id, "topic": m.topic(), "at": time(m.at()), "message_id": m.message_id(),
                "sender": m.sender(), "headers": m.headers() });
            put(&mut data, m.payload());
            written("message", Some(&id), &data)
        }
        Event::Error(e) => written("error", None, &json!({ "error": e.to_string() })),
        other => written("other", None, &json!({ "event": format!("{other:?}") })),
    }
}

/// An event as it is written: JSON has no line breaks.
fn written(kind: &str, id: Option<&str>, data: &Value) -> String {
    let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
    format!("event: {kind}\n{id}data: {data}\n\n")
}
