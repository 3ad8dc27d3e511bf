//! How an outcome is shown as JSON: the same words as in SQL.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use trunkline::{
    Error, ErrorKind,
    requests::{Content, Headers, Part, Payload, Reply},
};

/// One outcome, as the object that `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    id: Option<i64>,
    outcome: &'static str,
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<&'a Headers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<'a> Shown<'a> {
    pub(super) fn of(outcome: &'a Result<Reply, Error>, line: Option<u64>) -> Self {
        match outcome {
            Ok(reply) => {
                let shown = payload(&reply.payload);
                Self {
                    line,
                    id: Some(reply.id),
                    outcome: "ok",
                    code: None,
                    reply_base64: shown.is_none().then(|| BASE64_STANDARD.encode(reply.payload.bytes())),
                    reply: shown,
                    headers: Some(&reply.headers).filter(|h| !h.is_empty()),
                    error: None,
                }
            }
            Err(e) => Self {
                line,
                id: e.request(),
                outcome: word(e.kind()),
                code: e.code(),
                reply: None,
                reply_base64: None,
                headers: None,
                error: Some(e.to_string()),
            },
        }
    }

    /// A part of a reply, on one line: its number, and what it says.
    pub(super) fn part(part: &Part) -> String {
        let text = payload(&part.payload);
        let base64 = text.is_none().then(|| BASE64_STANDARD.encode(part.payload.bytes()));
        let mut shown = serde_json::json!({ "part": part.number });
        match text {
            Some(text) => shown["text"] = serde_json::from_str(text.get()).unwrap_or_default(),
            None => shown["base64"] = base64.into(),
        }
        shown.to_string()
    }

    /// On one line, without its end.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The outcome's word.
fn word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Remote => "remote error",
        ErrorKind::NoResponder => "no responder",
        ErrorKind::TimedOut => "timed out",
        ErrorKind::Cancelled => "cancelled",
        ErrorKind::Lost => "lost",
        _ => "failed",
    }
}

/// JSON as it was written, text as a string, none for other bytes.
pub(in crate::commands) fn payload(payload: &Payload) -> Option<Box<RawValue>> {
    let text = payload.text().ok()?;
    if payload.content() == Content::Json {
        // Line breaks stand only between the tokens of JSON, never in them.
        let on_one_line = text.replace(['\n', '\r'], " ");
        if let Ok(raw) = RawValue::from_string(on_one_line) {
            return Some(raw);
        }
    }
    to_raw_value(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_digits_and_its_line() {
        let raw = payload(&crate::input::payload(Some("{\"a\":\n1.000}"), true).unwrap()).unwrap();
        assert_eq!(raw.get(), "{\"a\": 1.000}");
        assert!(payload(&vec![0xff_u8].into()).is_none());
        assert_eq!(payload(&"a\n".into()).unwrap().get(), "\"a\\n\"");
    }
}
