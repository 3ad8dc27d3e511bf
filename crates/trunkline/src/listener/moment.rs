//! Moments by a clock that goes on while the machine is suspended, as the clocks of all others do.
//!
//! The clock of timers and of `Instant` stands still then (CLOCK_MONOTONIC): a holder that wakes up would trust for seconds what
//! another has had for an hour. Linux only; elsewhere a moment is an `Instant`. A virtual machine that is paused does not notice.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

use tokio::time::Instant;

/// A moment that can be compared across a suspension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Instant);

impl Moment {
    pub(crate) fn now() -> Self {
        Self(Instant::now() + suspended())
    }

    /// When a timer is to end for it, if nothing is suspended from now on.
    pub(crate) fn timer(self) -> Instant {
        self.0.checked_sub(suspended()).unwrap_or_else(Instant::now)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0 + time)
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, time: Duration) -> Self {
        Self(self.0 - time)
    }
}

/// For how long this machine was suspended since we first asked; never more than that.
#[cfg(not(test))]
fn suspended() -> Duration {
    static FIRST: std::sync::OnceLock<Duration> = std::sync::OnceLock::new();
    let all = ahead();
    all.saturating_sub(*FIRST.get_or_init(|| all))
}

/// How far the clock that goes on is ahead of the one that does not: what passes between the two readings is not counted.
#[cfg(target_os = "linux")]
fn ahead() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    let boot = clock_gettime(ClockId::CLOCK_BOOTTIME);
    let awake = clock_gettime(ClockId::CLOCK_MONOTONIC);
    match (boot, awake) {
        (Ok(boot), Ok(awake)) => Duration::from(boot).saturating_sub(awake.into()),
        _ => Duration::ZERO,
    }
}

#[cfg(not(target_os = "linux"))]
fn ahead() -> Duration {
    Duration::ZERO
}

#[cfg(test)]
pub(crate) use tests::{suspend, suspended};

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static SUSPENDED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// As if the machine had been suspended for so long, for this thread.
    pub(crate) fn suspend(time: Duration) {
        SUSPENDED.set(SUSPENDED.get() + time);
    }

    pub(crate) fn suspended() -> Duration {
        SUSPENDED.get()
    }

    #[test]
    fn the_two_clocks_differ_by_no_more_from_one_moment_to_the_next() {
        let first = ahead();
        for _ in 0..1000 {
            assert!(ahead().abs_diff(first) < Duration::from_secs(1));
        }
    }

    #[test]
    fn a_suspension_is_time_that_passed_and_a_timer_ends_that_much_sooner() {
        let (before, time) = (Moment::now(), Duration::from_secs(60));
        let timer = before.timer();
        suspend(time);
        assert!(Moment::now() >= before + time);
        assert!((before + time).timer() <= timer);
    }
}
