//! How often a member looks for its next batch.
//!
//! A look costs the server about as much as eight appends, whatever it brings. While events come one upon the other, a member
//! that has found all there was puts its next look off: by up to three times what the last ones took, the more the more events
//! it found. So looking takes a quarter of its time at most where producers are busy, who need the processor too, and less
//! of the server's the busier that is, for then a look takes longer; where they are not, events come at once. Who is behind
//! is never put off.

use std::time::Duration;

use tokio::time::Instant;

/// How fast events come and what a look takes, as far as the last ones tell.
#[derive(Debug)]
pub(crate) struct Pace {
    /// A batch has so many events at most, as far as known; 0 when fewer may also not be all there is.
    most: usize,
    last: Instant,
    /// Between two events.
    gap: Duration,
    /// What a look takes that finds something.
    look: Duration,
    due: Instant,
}

impl Pace {
    /// Slower than this, each event may as well ring.
    const SLOW: Duration = Duration::from_millis(5);
    /// No gap counts as longer, lest one of a minute makes many that follow look long.
    const LONG: Duration = Duration::from_millis(50);
    /// A look is put off by no more than this.
    const LATE: Duration = Duration::from_millis(20);
    /// A look is put off by one that takes as long for so many events, and by no more than so many.
    const WORTH: u32 = 8;
    const REST: u32 = 3;
    /// The runtime's timers wait for no less, and rather for twice that.
    const TIMER: Duration = Duration::from_millis(1);
    /// So many events, or bytes of them, are worth a look at once.
    const MANY: usize = 500;
    const LARGE: usize = 1 << 20;

    pub(crate) fn new(most: i32) -> Self {
        let now = Instant::now();
        let most = usize::try_from(most).unwrap_or(0);
        Self { most, last: now, gap: Self::LONG, look: Duration::ZERO, due: now }
    }

    /// A look has found so many events, of so many bytes.
    pub(crate) fn found(&mut self, begun: Instant, now: Instant, events: usize, bytes: usize) {
        let count = u32::try_from(events).unwrap_or(u32::MAX).max(1);
        let gap = now.saturating_duration_since(self.last).min(Self::LONG) / count;
        self.last = now;
        self.gap = (self.gap * 3 + gap) / 4;
        self.look = (self.look * 3 + now.saturating_duration_since(begun)) / 4;
        // What comes again takes half of a batch.
        let all = events < Self::MANY.min(self.most / 2) && bytes < Self::LARGE;
        let off = self.look * count.min(Self::WORTH * Self::REST) / Self::WORTH;
        self.due =
            if all && self.gap < Self::SLOW && off >= Self::TIMER { now + off.min(Self::LATE) } else { now };
    }

    /// When to look again.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Events come one upon the other: no need to ring.
    pub(crate) fn awake(&self) -> bool {
        self.gap < Self::SLOW && self.last.elapsed() < Self::SLOW * 4
    }

    /// How long until the next look after one that found nothing: about as long as until the next event.
    pub(crate) fn pause(&self) -> Duration {
        self.gap.clamp(Duration::from_millis(1), Duration::from_millis(4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const NEVER: Duration = Duration::ZERO;

    /// By how much the next look is put off after many of these batches, each found by a look of so long.
    fn put_off(most: i32, events: usize, bytes: usize, every: Duration, look: Duration) -> Duration {
        let mut pace = Pace::new(most);
        let mut now = Instant::now();
        for _ in 0..100 {
            now += every + look;
            pace.found(now.checked_sub(look).unwrap(), now, events, bytes);
        }
        pace.due() - now
    }

    #[test]
    fn who_found_all_there_was_looks_again_the_later_the_more_it_was() {
        for (events, off) in [(1, NEVER), (4, NEVER), (16, 2 * MS), (24, 3 * MS), (400, 3 * MS)] {
            let found = put_off(1000, events, 500, 3 * MS, MS);
            assert!(found >= off * 9 / 10 && found <= off, "{events}: {found:?}");
        }
        assert_eq!(put_off(1000, 50, 5000, 20 * MS, 15 * MS), Pace::LATE);
    }

    #[test]
    fn who_is_behind_or_gets_little_looks_at_once() {
        assert_eq!(put_off(10, 10, 1000, 5 * MS, MS), NEVER, "a full batch");
        assert_eq!(put_off(10, 5, 500, 5 * MS, MS), NEVER, "half of one, as of what comes again");
        assert_eq!(put_off(0, 5, 500, 5 * MS, MS), NEVER, "nobody knows what a full batch is");
        assert_eq!(put_off(10_000, 500, 50_000, 5 * MS, MS), NEVER, "many");
        assert_eq!(put_off(1000, 5, 2_000_000, 5 * MS, MS), NEVER, "large");
        assert_eq!(put_off(1000, 1, 100, 10 * MS, MS), NEVER, "a slow stream");
    }

    #[test]
    fn a_stream_that_begins_is_fast_after_a_dozen_batches() {
        let mut pace = Pace::new(1000);
        let mut now = Instant::now();
        for _ in 0..12 {
            now += 3 * MS;
            pace.found(now.checked_sub(MS).unwrap(), now, 1, 100);
        }
        assert!(pace.gap < Pace::SLOW, "{:?}", pace.gap);
    }
}
