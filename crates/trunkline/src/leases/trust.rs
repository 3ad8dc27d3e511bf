//! How long a holder trusts its lease, without asking anybody.

use std::time::Duration;

use crate::listener::{MARGIN, Moment, Presence};

/// What the holder knows: when it was first granted, and its newest answered renewal; both from the moment they were asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trust {
    pub(super) began: Moment,
    pub(super) asked: Moment,
    pub(super) ttl: Duration,
}

impl Trust {
    /// Until when it holds, were the connection to last; none when it is over.
    pub(super) fn until(&self, presence: &Presence, now: Moment) -> Option<Moment> {
        let sure = presence.sure(self.began)?;
        let until = sure.min(self.asked + self.ttl - MARGIN.min(self.ttl / 4));
        Some(until).filter(|until| now < *until)
    }

    /// When to renew: two renewals can fail before trust ends.
    pub(super) fn renew_at(&self) -> Moment {
        self.asked + self.ttl / 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A presence that was renewed just now, and a lease that was asked for just now.
    fn begin(ttl: Duration) -> (Presence, Trust, Moment) {
        let mut presence = Presence::new();
        let now = Moment::now();
        presence.renewed(now, now);
        (presence, Trust { began: now, asked: now, ttl }, now)
    }

    #[test]
    fn it_ends_a_margin_before_the_lease_or_the_presence_whichever_is_first() {
        for (ttl, most) in [(SECOND, SECOND * 3 / 4), (SECOND * 3, SECOND * 9 / 4), (SECOND * 15, SECOND * 4)]
        {
            let (presence, trust, now) = begin(ttl);
            assert_eq!(trust.until(&presence, now), Some(now + most), "{ttl:?}");
            assert_eq!(trust.until(&presence, now + most), None, "{ttl:?}");
        }
    }

    #[test]
    fn what_was_in_doubt_once_is_over_though_the_presence_is_renewed() {
        let (mut presence, trust, now) = begin(SECOND * 15);
        presence.renewed(now + SECOND, now + SECOND);
        assert!(trust.until(&presence, now + SECOND).is_some());
        presence.renewed(now + SECOND * 5, now + SECOND * 5); // just too late
        assert_eq!(trust.until(&presence, now + SECOND * 5), None);
    }

    #[test]
    fn a_connection_that_ended_ends_it_for_good() {
        let (mut presence, trust, now) = begin(SECOND * 15);
        presence.cut();
        assert_eq!(trust.until(&presence, now), None);
        presence.renewed(now + SECOND, now + SECOND);
        assert_eq!(trust.until(&presence, now + SECOND), None);
    }

    #[test]
    fn a_late_answer_counts_from_when_it_was_asked_for() {
        let (mut presence, trust, now) = begin(SECOND * 15);
        presence.renewed(now + SECOND, now + SECOND * 3);
        assert_eq!(trust.until(&presence, now + SECOND * 3), Some(now + SECOND * 5));
    }
}
