//! What a process that is busy (`rest.rs`) knows of its session's presence, by its own clock.
//!
//! Others may take a session for gone once its connection has ended, or [`LEASE`] after its newest renewal. That renewal was no
//! earlier than it was asked for; so until then, less a margin, and while the connection is not known to have ended, nobody does.
//! Of one at rest, which is heard of more seldom, this says too little, and so nothing wrong.

use std::time::Duration;

use super::Moment;

/// How long a session that has something in hand counts as present without a sign of life.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// So much earlier than others may doubt its presence the process does: time for what depends on it to stop.
pub(crate) const MARGIN: Duration = Duration::from_secs(1);

/// A process's presence, as far as it knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Presence {
    /// When the newest renewal that was answered was asked for; none while there is no connection.
    asked: Option<Moment>,
    /// Since when it was never in doubt.
    since: Moment,
}

impl Presence {
    pub(crate) fn new() -> Self {
        Self { asked: None, since: Moment::now() }
    }

    /// A renewal was answered.
    pub(crate) fn renewed(&mut self, asked: Moment, now: Moment) {
        if self.until().is_none_or(|until| until <= now) {
            self.since = now;
        }
        self.asked = Some(asked);
    }

    /// The connection ended.
    pub(crate) fn cut(&mut self) {
        self.asked = None;
    }

    /// Until when nobody doubts it, were the connection to last; none when it was in doubt since `began`.
    pub(crate) fn sure(&self, began: Moment) -> Option<Moment> {
        self.until().filter(|_| self.since <= began)
    }

    fn until(&self) -> Option<Moment> {
        self.asked.map(|asked| asked + LEASE - MARGIN)
    }
}
