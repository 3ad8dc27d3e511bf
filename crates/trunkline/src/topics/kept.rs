//! What came on channels lately, and where one is in it: a place that is the same in every process that listens.
//!
//! NOTIFY keeps nothing and numbers nothing, but all who listen in a database hear everything in the same order. So whoever begins to
//! listen notifies a mark, a number that nobody can guess, on a channel beside the others. A place is the newest mark, and how many
//! messages came since:
//!
//! ```text
//! heard by all:        m m ╎ m m m m m ╎ m m
//!     the active one listens A       B its standby
//! handled, and noted with the lease:  A+3, by and by B+1: the next one begins behind that
//! ```
//! Guarantee: what came behind a place that was noted is here, or it is said that it may not be. No clock has a part in it, and it
//! does not matter how late something is heard, noted or read.
//!
//! What if it dies here: the place that was noted last counts, which is before what was handled since. Who has not heard the mark, as
//! it came later or was away meanwhile, hands out all that it has.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{message::Message, single::hash};
use crate::{
    Result,
    listener::{Args, Link},
};

/// Beside other people's channels, where the marks are said.
pub(super) const MARKS: &str = "trunkline_marks";
/// For so long a standby keeps what comes on channels.
const KEPT: Duration = Duration::from_secs(60);
/// Of marks upon each other so many are kept, however many somebody forges.
const MARKS_UPON_EACH_OTHER: usize = 8;

/// Behind how many messages since a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    mark: u64,
    since: u64,
    /// Others know that mark as well.
    shared: bool,
}

impl Place {
    /// Where nobody else has been.
    fn nowhere() -> Self {
        Self { mark: random(), since: 0, shared: false }
    }
}

/// What is said in a note, and what of it counts: messages of other channels are counted otherwise.
fn said(place: Place, topics: u64) -> String {
    format!("behind {:x}+{} of {topics:x}", place.mark, place.since)
}

/// Says to all who share this lease where they are, who says so included.
pub(super) async fn say(link: &Link, lease: &str) -> Result<()> {
    let said = format!("{:x} {lease}", random());
    let args: &Args<'_> = &[(&MARKS, Type::TEXT), (&said, Type::TEXT)];
    link.query("select pg_catalog.pg_notify($1, $2)", args).await.map(drop)
}

/// The mark, and of which lease, if it is one.
pub(super) fn parse(said: &str) -> Option<(u64, &str)> {
    let (mark, lease) = said.split_once(' ')?;
    Some((u64::from_str_radix(mark, 16).ok()?, lease))
}

fn random() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}

/// What came on the channels of a subscription, of which one of many is active.
#[derive(Debug)]
pub(super) struct Kept {
    /// Of which topics.
    topics: u64,
    here: Place,
    /// Messages, and marks, each with the place behind it.
    entries: VecDeque<(Place, Option<Message>)>,
    messages: usize,
    /// Behind what is no longer here, and when the newest of that came.
    left: Option<Place>,
    left_at: Option<SystemTime>,
}

/// What is not handled yet.
#[derive(Debug, Default)]
pub(super) struct Rest {
    pub(super) messages: Vec<Message>,
    /// Behind what was handled, where that is known.
    pub(super) from: Option<Place>,
    /// Until when messages came that are no longer here, and may be among them.
    pub(super) missed: Option<SystemTime>,
}

impl Kept {
    pub(super) fn new(topics: &[String]) -> Self {
        let mut sorted: Vec<&String> = topics.iter().collect();
        sorted.sort_unstable();
        let topics = hash(sorted.iter().flat_map(|t| t.bytes().chain([0])));
        let (here, entries) = (Place::nowhere(), VecDeque::new());
        Self { topics, here, entries, messages: 0, left: None, left_at: None }
    }

    /// Behind all that came.
    pub(super) fn here(&self) -> Place {
        self.here
    }

    /// Whether others know where this one is.
    pub(super) fn is_placed(&self) -> bool {
        self.here.shared
    }

    /// A mark came. One that was heard before is forged.
    pub(super) fn mark(&mut self, mark: u64) {
        if self.here.mark == mark || self.entries.iter().any(|(place, _)| place.mark == mark) {
            return;
        }
        self.here = Place { mark, since: 0, shared: true };
        let upon = self.entries.iter().rev().take_while(|(_, message)| message.is_none()).count();
        if upon >= MARKS_UPON_EACH_OTHER {
            self.entries.remove(self.entries.len() - upon);
        }
        self.entries.push_back((self.here, None));
    }

    /// A message came that is not this one's.
    pub(super) fn pass(&mut self) {
        self.here.since += 1;
    }

    /// Keeps a message that came; so many at most, of the last minute. It is given back with the place behind it.
    pub(super) fn keep(&mut self, mut message: Message, most: usize) -> Message {
        self.here.since += 1;
        message.place = Some(self.here);
        let long_ago = message.at().checked_sub(KEPT);
        self.entries.push_back((self.here, Some(message.clone())));
        self.messages += 1;
        while self.messages > most || self.oldest().is_some_and(|at| long_ago.is_some_and(|then| at < then)) {
            let Some((place, message)) = self.entries.pop_front() else { break };
            self.left = Some(place);
            if let Some(message) = message {
                self.messages -= 1;
                self.left_at = Some(message.at());
            }
        }
        message
    }

    fn oldest(&self) -> Option<SystemTime> {
        self.entries.iter().find_map(|(_, message)| message.as_ref().map(Message::at))
    }

    /// Messages may be missing here, which others have heard.
    pub(super) fn interrupt(&mut self) {
        self.here = Place::nowhere();
    }

    /// How a place is noted for others; not where none of them has been.
    pub(super) fn said(&self, place: Place) -> Option<String> {
        place.shared.then(|| said(place, self.topics))
    }

    /// What came behind the later of two places: one that was noted, and one of this process's own.
    pub(super) fn rest(&self, noted: Option<&str>, own: Option<Place>) -> Rest {
        let noted = noted.and_then(|text| self.place(text));
        let places = [noted, own].into_iter().flatten();
        let (index, from, missed) = places
            .filter_map(|place| self.find(place).map(|(index, missed)| (index, Some(place), missed)))
            .max_by_key(|(index, _, missed)| (!*missed, *index))
            .unwrap_or((0, None, self.left_at.is_some()));
        Rest {
            messages: self.entries.iter().skip(index).filter_map(|(_, message)| message.clone()).collect(),
            from,
            missed: self.left_at.filter(|_| missed),
        }
    }

    /// How many entries are before a place, and whether some behind it are no longer here; none where this one has not been.
    fn find(&self, place: Place) -> Option<(usize, bool)> {
        let of = |other: &Place| other.mark == place.mark;
        let before = self.entries.iter().rposition(|(p, _)| of(p) && p.since <= place.since);
        match (before, self.left.filter(of)) {
            (Some(before), _) => Some((before + 1, false)),
            (None, Some(left)) => Some((0, left.since > place.since)),
            (None, None) if of(&self.here) => Some((0, false)),
            (None, None) => None,
        }
    }

    /// The place of which a note is.
    fn place(&self, noted: &str) -> Option<Place> {
        let (mark, rest) = noted.strip_prefix("behind ")?.split_once('+')?;
        let (since, topics) = rest.split_once(" of ")?;
        let mark = u64::from_str_radix(mark, 16).ok()?;
        let same = u64::from_str_radix(topics, 16).ok()? == self.topics;
        let since = since.parse().ok().filter(|_| same).unwrap_or(0);
        Some(Place { mark, since, shared: true })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::topics::message::Sent;

    const MOST: usize = 4;

    fn kept(topics: &[&str]) -> Kept {
        Kept::new(&topics.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>())
    }

    /// A message of this number, so many seconds after the first.
    fn keep(kept: &mut Kept, id: i64, second: u64) -> Place {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + second);
        let message = Message::new(Arc::new(Sent { id, at: Some(at), ..Sent::default() }));
        kept.keep(message, MOST).place.unwrap()
    }

    fn ids(rest: &Rest) -> Vec<i64> {
        rest.messages.iter().map(Message::id).collect()
    }

    #[test]
    fn a_place_is_the_same_for_all_who_heard_its_mark() {
        let (mut one, mut other) = (kept(&["a", "b"]), kept(&["b", "a"]));
        keep(&mut one, 1, 0); // before the other one listened
        for kept in [&mut one, &mut other] {
            keep(kept, 2, 0);
            kept.mark(7);
            keep(kept, 3, 0);
        }
        let noted = one.said(one.here());
        keep(&mut one, 4, 0);
        keep(&mut other, 4, 0);
        assert_eq!(noted.as_deref(), Some("behind 7+1 of ab40d7820d408076"));
        for kept in [&one, &other] {
            let rest = kept.rest(noted.as_deref(), None);
            assert_eq!((ids(&rest), rest.missed), (vec![4], None));
        }
        other.mark(8);
        assert_eq!(
            ids(&one.rest(other.said(other.here()).as_deref(), None)),
            [1, 2, 3, 4],
            "not heard here yet"
        );
        one.mark(8);
        let rest = one.rest(other.said(other.here()).as_deref(), None);
        assert_eq!((ids(&rest), rest.from), (vec![], Some(one.here())));
    }

    #[test]
    fn of_other_topics_the_mark_counts_alone() {
        let (mut one, mut other) = (kept(&["a"]), kept(&["a", "b"]));
        one.mark(7);
        other.mark(7);
        for n in 1..=3 {
            keep(&mut one, n, 0);
        }
        keep(&mut other, 3, 0);
        assert_eq!(ids(&other.rest(one.said(one.here()).as_deref(), None)), [3]);
    }

    #[test]
    fn what_is_no_longer_here_is_told_where_it_may_count() {
        let mut kept = kept(&["a"]);
        kept.mark(7);
        let handled: Vec<_> = (1..=6).map(|n| keep(&mut kept, n, n.cast_unsigned())).collect();
        let rest = |place: Option<Place>| kept.rest(place.and_then(|p| kept.said(p)).as_deref(), None);
        for (behind, left, missed) in [(0, 3..=6, true), (1, 3..=6, false), (3, 5..=6, false)] {
            let rest = rest(Some(handled[behind]));
            assert_eq!((ids(&rest), rest.missed.is_some()), (left.collect(), missed), "behind {behind}");
        }
        assert!(rest(None).missed.is_some(), "nobody knows how far the one before had come");
        keep(&mut kept, 7, 66);
        let rest = kept.rest(kept.said(handled[5]).as_deref(), None);
        assert_eq!((ids(&rest), rest.missed), (vec![7], None));
        assert_eq!(ids(&kept.rest(None, None)), [6, 7], "older than a minute");
    }

    #[test]
    fn who_was_away_knows_its_own_places_and_no_other_since() {
        let (mut one, mut other) = (kept(&["a"]), kept(&["a"]));
        one.mark(7);
        other.mark(7);
        keep(&mut one, 1, 0);
        keep(&mut other, 1, 0);
        one.interrupt();
        assert!(one.said(one.here()).is_none());
        keep(&mut other, 2, 0);
        keep(&mut other, 3, 0);
        let own = keep(&mut one, 3, 0);
        keep(&mut one, 4, 0);
        assert_eq!(
            ids(&one.rest(other.said(other.here()).as_deref(), None)),
            [3, 4],
            "before them, or behind"
        );
        assert_eq!(
            ids(&one.rest(other.said(other.here()).as_deref(), Some(own))),
            [4],
            "the later one counts"
        );
        assert_eq!(ids(&one.rest(Some("behind 7+0 of 1"), Some(own))), [4]);
        for strange in ["", "late 5", "behind +", "behind 7+x of", "behind 7+1 of x", "behind 99+1 of 1"] {
            assert_eq!(ids(&one.rest(Some(strange), None)), [1, 3, 4], "{strange}");
        }
    }

    #[test]
    fn forged_marks_move_nothing() {
        let mut kept = kept(&["a"]);
        kept.mark(7);
        let behind = keep(&mut kept, 1, 0);
        let noted = kept.said(behind);
        keep(&mut kept, 2, 0);
        kept.mark(7);
        keep(&mut kept, 3, 0);
        for n in 100..10_000 {
            kept.mark(n);
        }
        assert!(kept.entries.len() < 20, "{}", kept.entries.len());
        assert_eq!(ids(&kept.rest(noted.as_deref(), None)), [2, 3]);
    }
}
