//! How what a subscription yields is shown: payloads on lines, the rest to stderr; with `--json` all of it as objects.

use std::time::SystemTime;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use trunkline::topics::{Event, Gap, Message};

use crate::{
    commands::requests::outcome,
    exit::Result,
    out::{self, Out},
};

/// How to show it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Show {
    pub(super) out: Out,
    /// The topic in a column before the payload.
    pub(super) topics: bool,
    pub(super) quiet: bool,
}

impl Show {
    pub(super) fn event(self, event: &Event) -> Result<()> {
        if self.out.json {
            return self.out.json(&object(event));
        }
        if let Event::Message(message) = event {
            let mut line = Vec::new();
            if self.topics {
                line.extend_from_slice(message.topic().as_bytes());
                line.push(b'\t');
            }
            self.out.on_one_line(message.payload().bytes(), &mut line);
            line.push(b'\n');
            return self.out.bytes(&line);
        }
        if !self.quiet || matches!(event, Event::Gap(_) | Event::Error(_)) {
            out::talk(&format!("trunkline: {}", said(event)));
        }
        Ok(())
    }
}

fn said(event: &Event) -> String {
    match event {
        Event::Connected => "connected".into(),
        Event::Lost => "connection lost".into(),
        Event::Gap(Gap { since, until, missed, .. }) => match missed {
            Some(many) => {
                format!("gap: {many} messages missed between {} and {}", time(*since), time(*until))
            }
            None => {
                format!("gap: messages may have been missed between {} and {}", time(*since), time(*until))
            }
        },
        Event::Active { fence, silent: None } => format!("active with fence {fence}, the first one"),
        Event::Active { fence, silent: Some(silent) } => {
            format!("active with fence {fence}, after {} ms without a sign of life", silent.as_millis())
        }
        Event::Standby { reason: None } => "standing by".into(),
        Event::Standby { reason: Some(reason) } => format!("standing by: {reason}"),
        Event::Error(e) => e.to_string(),
        other => format!("{other:?}"),
    }
}

fn object(event: &Event) -> Value {
    match event {
        Event::Connected => json!({ "event": "connected" }),
        Event::Lost => json!({ "event": "lost" }),
        Event::Gap(Gap { since, until, missed, .. }) => {
            json!({ "event": "gap", "since": time(*since), "until": time(*until), "missed": missed })
        }
        Event::Active { fence, silent } => {
            json!({ "event": "active", "fence": fence, "silent_ms": silent.map(|s| s.as_millis()) })
        }
        Event::Standby { reason } => {
            json!({ "event": "standby", "reason": reason.as_ref().map(ToString::to_string) })
        }
        Event::Message(message) => of_message(message),
        Event::Error(e) => json!({ "event": "error", "error": e.to_string() }),
        other => json!({ "event": format!("{other:?}") }),
    }
}

fn of_message(message: &Message) -> Value {
    let mut shown = json!({
        "event": "message", "topic": message.topic(), "id": message.id(), "at": time(message.at()),
        "sender": message.sender(), "message_id": message.message_id(), "headers": message.headers(),
        "fence": message.fence(),
    });
    match outcome::payload(message.payload()).and_then(|p| serde_json::from_str(p.get()).ok()) {
        Some(payload) => shown["payload"] = payload,
        None => shown["payload_base64"] = BASE64_STANDARD.encode(message.payload().bytes()).into(),
    }
    shown
}

/// A time as RFC 3339 has it, in UTC, to the microsecond.
fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_micros(at).to_string()
}
