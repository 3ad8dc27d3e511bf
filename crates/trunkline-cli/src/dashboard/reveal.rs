//! What is seen once it was noted who looks: payloads that a login for readers does not show, and what is in a stream or on a topic.

use axum::{http::Uri, response::Response};
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::{
    frame::Frame,
    job,
    parts::{crumbs, empty, encoded, id, number, payload, size, text, when},
    requests,
};
use crate::http::{App, guard::Viewer, problem::Answer};

/// The page for an action that shows something; none where nothing is there any more.
pub(super) async fn page(
    app: &App,
    viewer: &Viewer,
    uri: &Uri,
    action: &str,
    target: &Map<String, Value>,
    result: &Value,
) -> Answer<Option<Response>> {
    let of = |name: &str| target.get(name).and_then(Value::as_str).unwrap_or_default();
    let (word, title, region) = match action {
        "job_reveal" => {
            let region = job::region(&app.data.job(id(of("id"), "job")?).await?, viewer, true);
            ("jobs", format!("Job {}", of("id")), region)
        }
        "request_reveal" => {
            let request = app.data.request(id(of("request"), "request")?, true).await?;
            ("requests", format!("Request {}", of("request")), requests::one(&request, viewer, true))
        }
        "stream_reveal" if result.is_object() => {
            let (stream, consumer) = (of("stream"), of("consumer"));
            let up = format!("/streams/{}/{}", encoded(stream), encoded(consumer));
            let region = html! {
                (crumbs(&up, consumer, &html! { "dead letter" }))
                h1 { "Dead letter " (of("id")) }
                (content(result))
            };
            ("streams", format!("Dead letter {} of {consumer}", of("id")), region)
        }
        "stream_peek" => {
            ("streams", of("stream").to_owned(), newest("/streams", "Streams", of("stream"), result))
        }
        "topic_peek" => ("topics", of("topic").to_owned(), newest("/topics", "Topics", of("topic"), result)),
        _ => return Ok(None),
    };
    Ok(Some(Frame::new(viewer, uri, word).title(title).page(&region)))
}

/// A payload, as text or in base64, and headers.
fn content(of: &Value) -> Markup {
    html! {
        @if let Some(text) = of["payload"].as_str() { (payload(text)) }
        @else if let Some(base64) = of["bytes"].as_str() { p.muted { "Bytes, in base64:" } (payload(base64)) }
        @else { p.muted { "Bytes, that are no text." } }
        @if of["headers"].is_object() { h3 { "Headers" } (payload(&of["headers"].to_string())) }
    }
}

/// The newest messages of a stream or a topic.
fn newest(up: &str, word: &str, name: &str, messages: &Value) -> Markup {
    let rows = messages.as_array().map_or(&[][..], Vec::as_slice);
    html! {
        (crumbs(up, word, &html! { (name) }))
        h1 { "The newest of " (name) }
        p.muted { "Nobody's place was changed by looking. It is noted who looked." }
        @if rows.is_empty() { (empty("Nothing is kept.", &html! { "What was there went with the segment that it was in, or nothing ever came." })) }
        ul.groups { @for m in rows { li {
            p { strong { (number(m, "id")) } " " (when(m, if m["at"].is_null() { "sent_at" } else { "at" })) " "
                span.muted { (size(number(m, "bytes"))) @for field in ["type", "key", "message_id"] { @if !text(m, field).is_empty() { " · " (text(m, field)) } } } }
            (content(m))
        } } }
    }
}
