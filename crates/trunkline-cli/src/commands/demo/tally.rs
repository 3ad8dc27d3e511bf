//! Which events of the stream were logged, and which each of its consumers counted: kept as ranges of ids, so that an hour
//! of events takes no more room than a second of them.

use std::collections::{BTreeMap, HashMap};

/// A set of ids: each range from its first to its last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ids {
    ranges: BTreeMap<i64, i64>,
    count: u64,
}

impl Ids {
    /// Adds an id; false when it is there already.
    fn insert(&mut self, id: i64) -> bool {
        let before = self.ranges.range(..=id).next_back().map(|(first, last)| (*first, *last));
        let first = match before {
            Some((_, last)) if last >= id => return false,
            Some((first, last)) if last == id - 1 => first,
            _ => id,
        };
        let last = self.ranges.remove(&(id + 1)).unwrap_or(id);
        self.ranges.insert(first, last);
        self.count += 1;
        true
    }

    fn contains_all(&self, other: &Self) -> bool {
        let within = |(first, last): (&i64, &i64)| {
            self.ranges.range(..=first).next_back().is_some_and(|(_, end)| end >= last)
        };
        other.ranges.iter().all(within)
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// What the logging parts say that they have appended; one that was killed may have appended more.
    logged: Ids,
    /// What each counting part has seen, and how often it saw one again.
    counted: HashMap<usize, (Ids, u64)>,
}

impl Tally {
    pub(super) fn log(&mut self, id: i64) {
        self.logged.insert(id);
    }

    pub(super) fn count(&mut self, part: usize, ids: &[i64]) {
        let (seen, again) = self.counted.entry(part).or_default();
        ids.iter().for_each(|id| *again += u64::from(!seen.insert(*id)));
    }

    /// Events that are known to be in the stream.
    pub(super) fn events(&self) -> u64 {
        self.counted.values().map(|(seen, _)| seen.count).fold(self.logged.count, u64::max)
    }

    /// How many a part has seen, each time counted.
    pub(super) fn of(&self, part: usize) -> u64 {
        self.counted.get(&part).map_or(0, |(seen, again)| seen.count + again)
    }

    /// Whether so many parts have seen the same events, everything that was logged among them, each of them once.
    pub(super) fn complete(&self, parts: usize) -> bool {
        let mut all = self.counted.values();
        let Some((first, _)) = all.next() else { return parts == 0 || self.logged.count == 0 };
        self.counted.len() == parts
            && first.contains_all(&self.logged)
            && all.all(|(seen, _)| seen == first)
            && self.counted.values().all(|(_, again)| *again == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_any_order_become_ranges() {
        let mut ids = Ids::default();
        for id in [5, 1, 3, 2, 9, 4] {
            assert!(ids.insert(id));
        }
        assert!(!ids.insert(3) && !ids.insert(9));
        assert_eq!((ids.ranges.clone(), ids.count), (BTreeMap::from([(1, 5), (9, 9)]), 6));
        let mut some = Ids::default();
        assert!([2, 4].map(|id| some.insert(id)) == [true; 2] && ids.contains_all(&some));
        assert!(some.insert(6) && !ids.contains_all(&some));
    }

    #[test]
    fn what_is_missing_or_comes_twice_is_found() {
        let tally = |a: &[i64], b: &[i64]| {
            let mut tally = Tally::default();
            [1, 2, 3].iter().for_each(|id| tally.log(*id));
            tally.count(7, a);
            tally.count(8, b);
            tally.complete(2)
        };
        assert!(tally(&[1, 2, 3, 4], &[4, 3, 2, 1]), "of a killed part's last one nobody was told");
        assert!(!tally(&[1, 2, 3], &[1, 2]));
        assert!(!tally(&[1, 2], &[1, 2]));
        assert!(!tally(&[1, 2, 3, 3], &[1, 2, 3]));
        assert!(!tally(&[1, 2, 3, 4], &[1, 2, 3]));
    }
}
