//! The lanes that a responder looks into: which of their segments comes next, and the bells that say so.

use tokio::time::Instant;

use crate::{
    listener::{Bell, Link, POLL},
    requests::wire::{Cursor, Ring, Segment},
};

/// Which of a lane's segments to look into next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// The one that writers fill, as far as we know.
    Current,
    /// The other one: what was written before the ring turned, or by somebody who has not heard of it.
    Other,
}

/// A lane that is served: whether to look into it, and the bell that says so.
pub(super) struct Lane {
    pub(super) number: i32,
    pub(super) ring: Ring,
    pub(super) look: Option<Look>,
    /// At the current segment, since the other one was looked at, and when that was.
    looks: u32,
    since: Instant,
    /// The other one's turn has come.
    due: bool,
    pub(super) cursors: [Cursor; 4],
    pub(super) bell: Bell,
}

impl Lane {
    pub(super) fn new(number: i32, ring: Ring, bell: Bell) -> Self {
        Self {
            number,
            ring,
            look: Some(Look::Current),
            looks: 0,
            since: Instant::now(),
            due: false,
            cursors: Default::default(),
            bell,
        }
    }

    /// Bells that each find something must not keep from the other segment, or from what goes out again, for long.
    pub(super) fn begin(&mut self) {
        self.due = self.looks >= Self::PATIENCE || self.since.elapsed() >= POLL;
        if self.due {
            self.cursors.iter_mut().for_each(Cursor::forget);
        }
    }

    /// Looks at the current segment before the other one is due, however busy that is.
    const PATIENCE: u32 = 64;

    pub(super) fn segment(&self, link: &Link) -> Segment {
        let current = self.ring.current(link);
        if self.at_other() { current.other() } else { current }
    }

    fn at_other(&self) -> bool {
        self.look == Some(Look::Other) || self.due
    }

    /// Where to look next, after a look that brought nothing, or less or more than all there is. A bell that found nothing
    /// in the current segment was for the other one.
    pub(super) fn looked(&mut self, more: bool, empty: bool) {
        let other = self.at_other();
        self.looks = if other { 0 } else { self.looks + 1 };
        if other {
            self.since = Instant::now();
        }
        self.look = match (other, empty) {
            (true, true) if !self.due => None,
            (true, _) => Some(Look::Current),
            (false, _) if more => Some(Look::Current),
            (false, true) => Some(Look::Other),
            (false, false) => None,
        };
    }
}

/// Waits until a lane's bell rings, and notes which.
pub(super) async fn any_rung(lanes: &mut [Lane]) {
    let rings = lanes.iter_mut().map(|l| {
        Box::pin(async {
            l.bell.rung().await;
            l.look = Some(Look::Current);
        })
    });
    futures_util::future::select_all(rings).await;
}
