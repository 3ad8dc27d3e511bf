//! How long each phase lasts, and how patient the parts are: all of it but the jobs and the listeners in proportion to the time given.

use std::time::Duration;

/// What the director is to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) length: Duration,
    pub(super) consumers: usize,
    pub(super) rate: u32,
}

/// What the jobs and the listeners at the end take of it; at least three seconds are left for what comes before.
const LAST: Duration = Duration::from_secs(5);
const SHORTEST: Duration = Duration::from_secs(3);
/// The longest that a controller stands still: well below the five seconds after which a session counts as dead.
const LONGEST_FREEZE: Duration = Duration::from_millis(2500);

impl Plan {
    pub(super) fn new(length: Duration, consumers: usize, rate: u32) -> Self {
        Self { length, consumers, rate }
    }

    /// This many hundredths of what comes before those.
    pub(super) fn share(&self, hundredths: u32) -> Duration {
        self.length.saturating_sub(LAST).max(SHORTEST) * hundredths / 100
    }

    /// How long the controller is stopped, so that accepted requests run into their deadline.
    pub(super) fn freeze(&self) -> Duration {
        self.share(12).min(LONGEST_FREEZE)
    }

    /// The deadline of quick requests: half of that.
    pub(super) fn deadline(&self) -> Duration {
        self.freeze() / 2
    }

    /// How long requests that take time are worked on.
    pub(super) fn work(&self) -> Duration {
        self.share(10).clamp(Duration::from_millis(400), Duration::from_millis(1500))
    }
}
