//! What a worker has in hand: slices with their open jobs, and the ends that are to be written.
//!
//! A slice is ended part by part. What is done is noted as bits of its slice, all that ended meanwhile in one part; anything
//! else ends its one job by itself.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering,
};

use super::{
    Outcome,
    attempt::Answer,
    job::LONGEST,
    signs::Signs,
    wire::{Claim, End, Part, Sliced},
};

/// How an attempt ended, as it will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    /// Done by a transaction of the handler's own; to be checked.
    Completed,
    /// That was so.
    Settled,
    Other {
        state: i32,
        ms: Option<i64>,
        counted: bool,
        error: Option<String>,
        result: Option<(i32, Vec<u8>)>,
    },
}

impl Verdict {
    pub(super) fn of(outcome: Outcome) -> Self {
        // An end that no statement takes would be written again and again.
        let ms =
            |d: std::time::Duration| Some(i64::try_from(d.as_millis()).map_or(LONGEST, |ms| ms.min(LONGEST)));
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::Result(payload) => {
                let content = i32::from(payload.content().code());
                let result = Some((content, payload.into_bytes()));
                Self::Other { state: 4, ms: Some(0), counted: true, error: None, result }
            }
            Outcome::Retry { after, error } => Self::failed(ms(after), error),
            Outcome::Snooze(delay) => {
                Self::Other { state: 0, ms: ms(delay), counted: false, error: None, result: None }
            }
            Outcome::Cancel(why) => {
                Self::Other { state: 3, ms: Some(0), counted: true, error: Some(plain(&why)), result: None }
            }
            Outcome::Dead(why) => {
                Self::Other { state: 2, ms: Some(0), counted: true, error: Some(plain(&why)), result: None }
            }
        }
    }

    /// What a handler answered, after all that it did.
    pub(super) fn after(answer: Answer, signs: &Signs) -> Self {
        match answer {
            Ok(Outcome::Done) if signs.completed.load(Ordering::Relaxed) => Self::Completed,
            Ok(outcome) => Self::of(outcome),
            Err(failure) => Self::failed(None, format!("{}: {}", failure.code, failure.message)),
        }
    }

    /// It failed, and comes again after so long, or by the queue's backoff.
    pub(super) fn failed(ms: Option<i64>, error: String) -> Self {
        Self::Other { state: 0, ms, counted: true, error: Some(plain(&error)), result: None }
    }

    /// It failed: the transaction in which its handler ended it came to nothing.
    pub(super) fn not_committed() -> Self {
        Self::failed(None, "the transaction that completed it was not committed".to_owned())
    }

    /// Nobody has worked on it: it goes back as it was.
    pub(super) fn handed_back() -> Self {
        Self::Other { state: 0, ms: Some(0), counted: false, error: None, result: None }
    }

    /// It was cancelled before it ran.
    pub(super) fn cancelled() -> Self {
        Self::Other { state: 3, ms: Some(0), counted: false, error: None, result: None }
    }
}

/// Text as PostgreSQL takes it.
fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[derive(Debug)]
struct Slice {
    token: i64,
    ids: Vec<i64>,
    /// Places of what is done and was not written yet.
    done: Vec<i32>,
    parts: i32,
    limited: Option<i32>,
    /// Jobs that have not ended.
    open: usize,
}

/// An end of one job, and its id.
#[derive(Debug, Clone)]
pub(super) struct Single {
    pub(super) id: i64,
    pub(super) end: End,
}

/// What is in hand, and what is to be written.
#[derive(Debug, Default)]
pub(super) struct Hand {
    slices: HashMap<i64, Slice>,
    changed: Vec<i64>,
    singles: Vec<Single>,
    /// Parts that could not be written; those that follow them wait.
    stuck: Vec<Part>,
    /// Slices of parts that are put off.
    put_off: HashSet<i64>,
}

/// Ends to be written together.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub(super) parts: Vec<Part>,
    pub(super) singles: Vec<Single>,
}

impl Ends {
    /// Whether others may begin once these are written: of a key, or within a limit.
    pub(super) fn free(&self) -> bool {
        !self.singles.is_empty() || self.parts.iter().any(|p| p.limited.is_some())
    }

    /// The parts of slices of a segment that nothing waits for, or only what else is of this queue, which has a limit; taken out.
    pub(super) fn take_segment(&mut self, segment: i32, limited: Option<i32>) -> Self {
        let segment = usize::try_from(segment).ok();
        let fits =
            |p: &mut Part| Some(p.segment()) == segment && (p.limited.is_none() || p.limited == limited);
        let parts = self.parts.extract_if(.., fits).collect();
        Self { parts, singles: Vec::new() }
    }
}

impl Hand {
    /// Jobs of a slice were taken.
    pub(super) fn taken(&mut self, slice: Sliced) {
        let Sliced { number, token, ids, limited } = slice;
        let open = ids.len();
        self.slices.insert(number, Slice { token, ids, done: Vec::new(), parts: 0, limited, open });
    }

    /// A job ended.
    pub(super) fn ended(&mut self, id: i64, claim: Claim, verdict: Verdict) {
        let slice = claim.slice().and_then(|s| Some((s, self.slices.get_mut(&s)?)));
        let Verdict::Other { state, ms, counted, error, result } = verdict else {
            match (slice, verdict) {
                (Some((number, slice)), Verdict::Done) => {
                    if slice.done.is_empty() {
                        self.changed.push(number);
                    }
                    slice.done.push(claim.slot);
                    slice.open -= 1;
                }
                (Some((number, _)), _) => self.one_less(number),
                (None, Verdict::Done) => self.single(id, claim, 4),
                (None, _) => {}
            }
            return;
        };
        if let Some((number, _)) = slice {
            self.one_less(number);
        }
        self.singles.push(Single { id, end: End { claim, state, ms, counted, error, result } });
    }

    fn one_less(&mut self, number: i64) {
        if let Some(slice) = self.slices.get_mut(&number) {
            slice.open -= 1;
            if slice.open == 0 && slice.done.is_empty() {
                self.slices.remove(&number);
            }
        }
    }

    fn single(&mut self, id: i64, claim: Claim, state: i32) {
        let end = End { claim, state, ms: Some(0), counted: true, error: None, result: None };
        self.singles.push(Single { id, end });
    }

    /// What is to be written now; it is in the caller's hands from now on.
    pub(super) fn unwritten(&mut self) -> Ends {
        let mut parts = std::mem::take(&mut self.stuck);
        let behind: HashSet<i64> =
            parts.iter().map(|p| p.slice).chain(self.put_off.iter().copied()).collect();
        let (wait, changed) = std::mem::take(&mut self.changed).into_iter().partition(|s| behind.contains(s));
        self.changed = wait;
        let changed: Vec<i64> = changed;
        for number in changed {
            let Some(slice) = self.slices.get_mut(&number) else { continue };
            slice.parts += 1;
            let whole = slice.parts == 1 && slice.done.len() == slice.ids.len();
            let done = std::mem::take(&mut slice.done);
            let jobs = i32::try_from(done.len()).unwrap_or(0);
            parts.push(Part {
                slice: number,
                token: slice.token,
                number: slice.parts,
                slots: (!whole).then(|| bits(&done)),
                jobs,
                limited: slice.limited,
            });
        }
        Ends { parts, singles: std::mem::take(&mut self.singles) }
    }

    /// Parts were written. Those of a slice that was closed meanwhile come back as ends one by one, of the jobs where they may
    /// have been carried to.
    pub(super) fn written(&mut self, parts: &[Part], accepted: impl Fn(i64) -> bool) {
        for part in parts {
            if !accepted(part.slice)
                && let Some(slice) = self.slices.get(&part.slice)
            {
                let all = 1..=i32::try_from(slice.ids.len()).unwrap_or(i32::MAX);
                let done = all.filter(|slot| part.slots.as_ref().is_none_or(|b| bit(b, *slot)));
                let place =
                    |slot: i32| usize::try_from(slot - 1).ok().and_then(|n| slice.ids.get(n).copied());
                let ids: Vec<i64> = done.filter_map(place).collect();
                for id in ids {
                    let claim =
                        Claim { source: 0, number: part.slice, token: part.token, slot: 0 }.carried(id);
                    self.single(id, claim, 4);
                }
            }
            if self.slices.get(&part.slice).is_some_and(|s| s.open == 0 && s.done.is_empty()) {
                self.slices.remove(&part.slice);
            }
        }
    }

    /// An end by place was refused: perhaps the job was carried to where jobs are held.
    pub(super) fn carried(&mut self, single: Single) {
        let claim = single.end.claim.carried(single.id);
        self.singles.push(Single { id: single.id, end: End { claim, ..single.end } });
    }

    /// An end that it is not known of whether it was written: once more.
    pub(super) fn in_doubt(&mut self, single: Single) {
        self.singles.push(single);
    }

    /// Ends that could not be written: they come back, and until then no later part of their slices is written.
    pub(super) fn put_off(&mut self, ends: &Ends) {
        self.put_off.extend(ends.parts.iter().map(|p| p.slice));
    }

    /// Ends that were put off: once more.
    pub(super) fn put_back(&mut self, ends: Ends) {
        ends.parts.iter().for_each(|p| _ = self.put_off.remove(&p.slice));
        self.stuck.extend(ends.parts);
        self.singles.extend(ends.singles);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.singles.is_empty()
            && self.stuck.is_empty()
            && self.changed.iter().all(|slice| self.put_off.contains(slice))
    }
}

/// A bit for each place, as `get_bit` of PostgreSQL counts them.
fn bits(slots: &[i32]) -> Vec<u8> {
    let last = slots.iter().copied().max().unwrap_or(1);
    let mut bytes = vec![0_u8; usize::try_from((last + 7) / 8).unwrap_or(0)];
    for slot in slots {
        let at = slot - 1;
        if let Some(byte) = usize::try_from(at / 8).ok().and_then(|n| bytes.get_mut(n)) {
            *byte |= 1 << (at % 8);
        }
    }
    bytes
}

fn bit(bytes: &[u8], slot: i32) -> bool {
    let at = slot - 1;
    usize::try_from(at / 8).ok().and_then(|n| bytes.get(n)).is_some_and(|b| b & (1 << (at % 8)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(slot: i32) -> Claim {
        Claim { source: 2, number: 10, token: 7, slot }
    }

    #[test]
    fn what_is_done_of_a_slice_is_one_part_and_the_whole_needs_no_bits() {
        let mut hand = Hand::default();
        hand.taken(Sliced { number: 10, token: 7, ids: vec![100, 101, 102], limited: None });
        (1..=3).for_each(|n| hand.ended(99 + i64::from(n), claim(n), Verdict::Done));
        let ends = hand.unwritten();
        assert_eq!((ends.parts.len(), ends.parts[0].number, &ends.parts[0].slots), (1, 1, &None));
        hand.written(&ends.parts, |_| true);
        assert!(hand.slices.is_empty() && hand.is_empty());
    }

    #[test]
    fn parts_follow_each_other_and_a_closed_one_ends_its_jobs_where_they_are_held() {
        let mut hand = Hand::default();
        hand.taken(Sliced { number: 10, token: 7, ids: vec![100, 101, 102], limited: None });
        hand.ended(100, claim(1), Verdict::Done);
        let first = hand.unwritten();
        assert_eq!(first.parts[0].slots, Some(vec![1]));
        hand.written(&first.parts, |_| true);
        hand.ended(102, claim(3), Verdict::Done);
        hand.ended(101, claim(2), Verdict::failed(None, "x\0".into()));
        let second = hand.unwritten();
        assert_eq!((second.parts[0].number, second.parts[0].slots.clone()), (2, Some(vec![4])));
        assert_eq!(second.singles[0].end.error.as_deref(), Some("x\u{fffd}"));
        hand.written(&second.parts, |_| false);
        let third = hand.unwritten();
        let again: Vec<_> = third.singles.iter().map(|s| (s.id, s.end.claim.source, s.end.state)).collect();
        assert_eq!(again, [(102, 4, 4)]);
        assert!(hand.slices.is_empty());
    }
}
