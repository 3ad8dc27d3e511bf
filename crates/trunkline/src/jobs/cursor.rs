//! Where the lanes of the rings stand, as far as the last slice that this process took left them: see `direct/job_work.sql`.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;
use tokio_postgres::Row;

use crate::{
    Result,
    requests::wire::{Snapshot, Xid},
};

/// The function, which sees all there is, is asked at least so often.
const FULL: Duration = Duration::from_millis(100);

/// A lane in a segment of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) source: i32,
    pub(super) lane: i32,
}

/// The cursor that a slice's row holds.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) slice: i64,
    pub(super) turn: i64,
    pub(super) lo: Snapshot,
    pub(super) hi: Option<Snapshot>,
    /// The xid and id after which to look.
    pub(super) after: (Xid, i64),
}

/// What may begin of a queue with a limit, as long as nobody else takes from it: see `direct/job_limited.sql`.
#[derive(Debug)]
pub(super) struct Limit {
    /// Of our last take.
    pub(super) turn: i64,
    /// By what runs, and by the rate.
    pub(super) room: i32,
    pub(super) rate: i32,
    pub(super) since: i64,
    pub(super) version: String,
}

/// The short way: where to, and within which limit.
#[derive(Debug)]
pub(super) struct Short<'a> {
    pub(super) place: Place,
    pub(super) at: &'a Position,
    pub(super) limit: Option<&'a Limit>,
}

/// The cursors that are known.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    turns: HashMap<Place, i64>,
    at: HashMap<Place, Position>,
    /// Of queues that have one; none where it is not known.
    limits: HashMap<i32, Option<Limit>>,
    /// Where jobs were last found.
    last: Option<Place>,
    asked: Option<Instant>,
    /// The short way found nothing, and no bell has rung since.
    dry: bool,
    /// The next look may go the short way, whenever the function was asked.
    rung: bool,
    /// One has, since then.
    strayed: bool,
}

impl Cursors {
    /// Learns the cursor from a slice's row, which names its columns. Only when ours was the slice after our last one, so that
    /// nobody else takes here, for now.
    pub(super) fn learn(&mut self, row: &Row, place: Place) -> Result<()> {
        self.at.remove(&place);
        self.limits.remove(&(place.lane >> 4));
        if let Some(room) = row.try_get::<_, Option<i32>>("room")? {
            self.limits.insert(place.lane >> 4, limit(row, room)?);
        }
        let (Some(slice), Some(turn)) =
            (row.try_get::<_, Option<i64>>("slice")?, row.try_get::<_, Option<i64>>("turn")?)
        else {
            return Ok(());
        };
        let alone = self.turns.insert(place, turn).is_none_or(|last| turn == last + 1);
        self.last = Some(place);
        let lo: Snapshot = row.try_get("lo")?;
        if alone && lo.is_near() {
            let read: Option<Xid> = row.try_get("pos_xid")?;
            let id: Option<i64> = row.try_get("pos_id")?;
            let after = match (read, id) {
                (Some(xid), Some(id)) if xid >= lo.xmin() => (xid, id),
                _ => (lo.xmin(), 0),
            };
            let position = Position { slice, turn, lo, hi: row.try_get("hi")?, after };
            self.at.insert(place, position);
        }
        Ok(())
    }

    /// Where the short way may be gone now, if it may: for a while after the function was asked, until nothing is found there;
    /// and once for a bell, since what it rang for is most likely there, and soonest found so.
    pub(super) fn short(&mut self) -> Option<Short<'_>> {
        let rung = std::mem::take(&mut self.rung);
        let recent = !self.dry && self.asked.is_some_and(|a| a.elapsed() < FULL);
        let place = self.last.filter(|_| recent || rung && !self.strayed)?;
        let at = self.at.get(&place)?;
        let limit = match self.limits.get(&(place.lane >> 4)) {
            None => None,
            Some(limit) => Some(limit.as_ref()?),
        };
        self.strayed |= !recent; // bells that ring all the time must not keep us from all that is elsewhere
        Some(Short { place, at, limit })
    }

    /// A bell has rung.
    pub(super) fn rung(&mut self) {
        (self.rung, self.dry) = (true, false);
    }

    /// The function was asked.
    pub(super) fn asked(&mut self) {
        (self.asked, self.dry, self.strayed) = (Some(Instant::now()), false, false);
    }

    /// The next look is the function's: here is nothing, and the cursor stands where it stood. A window that ends goes on to the next
    /// one by the function alone, whatever rings.
    pub(super) fn ask(&mut self, place: Place) {
        self.dry = true;
        self.at.retain(|at, position| *at != place || position.hi.is_none());
    }

    /// The function is asked where to go on: the least urgent had their turn, and it was one.
    pub(super) fn leave(&mut self) {
        self.last = None;
    }

    /// Nothing is known any more.
    pub(super) fn forget(&mut self) {
        self.at.clear();
        self.limits.clear();
        self.last = None;
    }
}

/// What a row says of its queue's limit; none where the short way does not go on.
fn limit(row: &Row, room: i32) -> Result<Option<Limit>> {
    let Some(turn) = row.try_get("limited")? else { return Ok(None) };
    let (rate, since) = (row.try_get("rate")?, row.try_get("since")?);
    Ok(Some(Limit { turn, room, rate, since, version: row.try_get("version")? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place = Place { source: 2, lane: 21 };

    /// The function was asked, and has left a cursor.
    fn asked(hi: Option<&str>) -> Cursors {
        let snapshot = |text| Snapshot::of_text(text).unwrap();
        let (lo, hi) = (snapshot("5:5:"), hi.map(snapshot));
        let position = Position { slice: 1, turn: 1, lo, hi, after: (Xid::NONE, 0) };
        let mut cursors = Cursors { last: Some(HERE), ..Cursors::default() };
        cursors.at.insert(HERE, position);
        cursors.asked();
        cursors
    }

    #[test]
    fn the_function_is_asked_whatever_rings() {
        let mut cursors = asked(None);
        cursors.asked = None; // long ago
        cursors.rung();
        assert!(cursors.short().is_some(), "what it rang for is most likely here");
        for _ in 0..3 {
            cursors.rung();
            assert!(cursors.short().is_none(), "and what is elsewhere waits");
        }
        cursors.asked();
        assert!(cursors.short().is_some());
    }

    #[test]
    fn a_window_that_was_read_to_its_end_is_left_to_the_function() {
        let mut cursors = asked(Some("9:9:"));
        assert!(cursors.short().is_some());
        cursors.ask(HERE);
        cursors.rung();
        assert!(cursors.short().is_none());
        let mut open = asked(None);
        open.ask(HERE);
        assert!(open.short().is_none());
        open.rung();
        assert!(open.short().is_some(), "what came since is behind the same cursor");
    }
}
