//! How an event is shown: its payload on a line, or all of it as a JSON object.

use std::time::SystemTime;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::value::RawValue;
use trunkline::{requests::Headers, streams::Event};

use crate::{commands::requests::outcome, out::Out};

/// An event, as the object that `--json` prints.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: i64,
    at: String,
    #[serde(rename = "type")]
    kind: &'a str,
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    headers: &'a Headers,
    attempt: i32,
}

/// Adds an event as a line.
pub(super) fn line(event: &Event, out: Out, to: &mut Vec<u8>) {
    if out.json {
        let payload = outcome::payload(&event.payload);
        let shown = Shown {
            id: event.id,
            at: time(event.at),
            kind: &event.kind,
            key: event.key.as_deref(),
            payload_base64: payload.is_none().then(|| BASE64_STANDARD.encode(event.payload.bytes())),
            payload,
            headers: &event.headers,
            attempt: event.attempt,
        };
        to.extend_from_slice(&serde_json::to_vec(&shown).unwrap_or_default());
    } else {
        out.on_one_line(event.payload.bytes(), to);
    }
    to.push(b'\n');
}

/// A time as RFC 3339 has it, in UTC, to the microsecond.
pub(super) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_micros(at).to_string()
}
