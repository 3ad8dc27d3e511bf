//! What the parts say: JSON lines to the director, sentences to a person.
//!
//! Each event is written at once and whole, so that a part that is killed has told everything it began.

use std::{
    io::{IsTerminal, Write},
    time::Instant,
};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// How a request ended, from its caller's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    Replied,
    TimedOut,
    NoResponder,
    Lost,
    RemoteError,
    Cancelled,
    /// None of the outcomes that a request may have: the demo fails.
    Failed,
}

impl How {
    pub(super) const ALL: [Self; 7] = [
        Self::Replied,
        Self::TimedOut,
        Self::NoResponder,
        Self::Lost,
        Self::RemoteError,
        Self::Cancelled,
        Self::Failed,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Replied => "replied",
            Self::TimedOut => "timed out",
            Self::NoResponder => "no responder",
            Self::Lost => "lost",
            Self::RemoteError => "remote error",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// What a controller did with a request it had taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Done {
    Answered,
    /// It was cancelled, its caller is gone, or it was handed on: the handler was dropped.
    Ended,
    /// The deadline passed: the handler was dropped.
    TooLate,
}

/// What became of a SHUTDOWN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    Taken,
    Gone,
    Unanswered,
}

/// One thing that happened in a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// It has a session and does its work from now on.
    Ready { address: String },
    /// A consumer is about to send a request; `quick` when no work is asked for.
    Sent { n: u64, number: String, quick: bool },
    /// A request ended; `text` is the reply or the error.
    Ended { n: u64, number: String, how: How, us: u64, correct: bool, text: String },
    /// A controller took a request.
    Took { id: i64, from: String, attempt: i32 },
    /// A controller is done with it; `text` is what it answered.
    Done { id: i64, done: Done, number: String, text: String },
    /// A consumer appended this event to the stream.
    Logged { id: i64 },
    /// A counter has finished these events.
    Counted { events: Vec<i64> },
    /// A worker has a job in hand.
    Began { id: i64, attempt: i32 },
    /// Its handler is done with it; `text` is the MD5.
    Finished { id: i64, text: String },
    /// A listener is the active one, under this fence.
    Active { fence: i64 },
    /// It stands by.
    Standby,
    /// It heard a message.
    Heard { n: u64, text: String },
    /// A controller sent SHUTDOWN to this address.
    Told { address: String, told: Told },
    /// A consumer was told SHUTDOWN.
    Shutdown,
    /// It leaves in good order.
    Left { text: String },
}

/// Where a part's events go.
#[derive(Debug)]
pub(super) struct Voice {
    json: bool,
    colour: bool,
    began: Instant,
    alone: Notify,
}

impl Voice {
    pub(super) fn new(json: bool) -> Self {
        let colour = !json && colour(std::io::stdout().is_terminal());
        Self { json, colour, began: Instant::now(), alone: Notify::new() }
    }

    /// Says it.
    pub(super) fn say(&self, event: &Event) {
        if self.json {
            self.line(&serde_json::to_string(event).unwrap_or_default());
        } else if let Some(text) = sentence(event) {
            self.line(&self.stamped(event, &text));
        }
    }

    /// A line for a person; with JSON nothing is said.
    pub(super) fn tell(&self, text: &str) {
        if !self.json {
            self.line(text);
        }
    }

    /// Completes once nobody listens any more.
    pub(super) async fn alone(&self) {
        self.alone.notified().await;
    }

    fn line(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
            self.alone.notify_one();
        }
    }

    fn stamped(&self, event: &Event, text: &str) -> String {
        let colour = match event {
            Event::Ended { how: How::Replied, correct: true, .. } => "32",
            Event::Ended { how: How::TimedOut | How::NoResponder | How::Cancelled, .. } => "33",
            Event::Ended { .. } => "31",
            Event::Done { done: Done::Answered, .. } | Event::Finished { .. } => "32",
            Event::Done { .. } => "33",
            _ => "1",
        };
        let seconds = self.began.elapsed().as_secs_f64();
        if self.colour {
            format!("\x1b[2m{seconds:8.3}\x1b[0m  \x1b[{colour}m{text}\x1b[0m")
        } else {
            format!("{seconds:8.3}  {text}")
        }
    }
}

/// Whether to use colours: on a terminal, unless `NO_COLOR` is set or it is a dumb one.
pub(super) fn colour(terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

fn sentence(event: &Event) -> Option<String> {
    Some(match event {
        Event::Ready { address } => format!("here, at {address}"),
        Event::Sent { .. } | Event::Logged { .. } => return None,
        Event::Counted { events } => format!("{} events", events.len()),
        Event::Ended { number, how: How::Replied, correct: true, us, text, .. } => {
            format!("HASH {number}: {text} in {}", milliseconds(*us))
        }
        Event::Ended { number, how: How::Replied, text, .. } => format!("HASH {number}: {text} is WRONG"),
        Event::Ended { number, how, us, text, .. } => {
            format!("HASH {number}: {} after {}: {text}", how.word(), milliseconds(*us))
        }
        Event::Took { attempt: 1, .. } | Event::Began { attempt: 1, .. } => return None,
        Event::Took { id, attempt, .. } => format!("request {id} taken over, attempt {attempt}"),
        Event::Began { id, attempt } => format!("job {id} comes again, attempt {attempt}"),
        Event::Finished { id, text } => format!("job {id}: {text}"),
        Event::Active { fence } => format!("active, with fence {fence}"),
        Event::Standby => "standing by".to_owned(),
        Event::Heard { text, .. } => format!("message {text}"),
        Event::Done { number, done: Done::Answered, text, .. } => format!("HASH {number}: {text}"),
        Event::Done { number, done: Done::Ended, .. } => {
            format!("HASH {number}: given up, its caller no longer waits")
        }
        Event::Done { number, done: Done::TooLate, .. } => {
            format!("HASH {number}: given up, its deadline passed")
        }
        Event::Told { address, told } => match told {
            Told::Taken => format!("SHUTDOWN to {address}: taken"),
            Told::Gone => format!("SHUTDOWN to {address}: nobody is there any more"),
            Told::Unanswered => format!("SHUTDOWN to {address}: not taken"),
        },
        Event::Shutdown => "SHUTDOWN received".to_owned(),
        Event::Left { text } => text.clone(),
    })
}

/// Microseconds as milliseconds for people.
pub(super) fn milliseconds(us: u64) -> String {
    format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
}
