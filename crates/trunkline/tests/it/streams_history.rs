//! What may be said of a history of a stream: which events were committed, and in which batches each consumer met them.
//!
//! The checker of `streams_storm`, without a database; the bad histories at the end must all be rejected.

use std::collections::{BTreeMap, HashMap, HashSet};

/// An event as a consumer met it, in the transaction that finished its batch.
#[derive(Clone, Debug)]
pub struct Effect {
    pub consumer: String,
    pub turn: u64,
    /// Its place in the batch.
    pub place: u64,
    pub id: u64,
    /// `transaction/number`.
    pub payload: String,
    pub attempt: u64,
}

/// When a transaction began and when its commit had returned, on one clock.
pub type Times = HashMap<String, (u64, u64)>;

/// How many of each kind of fault were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Committed, and never met.
    pub lost: usize,
    /// Met more than once.
    pub doubled: usize,
    /// Met, and never committed.
    pub phantom: usize,
    /// Not by id in its batch, or after one that began when it had been committed.
    pub disorder: usize,
    /// Transactions in several batches of a consumer whose batches are whole.
    pub split: usize,
    /// Some of the first two, by consumer.
    pub some: Vec<String>,
}

impl Faults {
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

fn transaction(payload: &str) -> &str {
    payload.split_once('/').map_or(payload, |(transaction, _)| transaction)
}

/// The consumer whose members keep the order of a key, and events without one have none.
pub const IN_LANES: &str = "lanes";

/// Compares what was committed with what each of the consumers met; `whole` are those that no batch is too small for.
pub fn check(
    sent: &[String],
    effects: &[Effect],
    consumers: &[&str],
    whole: &[&str],
    times: &Times,
) -> Faults {
    let mut faults = Faults::default();
    let sent: HashSet<&str> = sent.iter().map(String::as_str).collect();
    for &consumer in consumers {
        let mut met: Vec<&Effect> = effects.iter().filter(|e| e.consumer == consumer).collect();
        met.sort_by_key(|e| (e.turn, e.place));
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for effect in &met {
            *counts.entry(&effect.payload).or_default() += 1;
        }
        let wrong = sent.iter().filter(|p| counts.get(*p) != Some(&1)).take(5);
        faults.some.extend(wrong.map(|p| format!("{consumer} {p} {}", counts.get(p).unwrap_or(&0))));
        faults.lost += sent.iter().filter(|payload| !counts.contains_key(*payload)).count();
        faults.doubled += counts.values().map(|n| n - 1).sum::<usize>();
        faults.phantom += counts.keys().filter(|payload| !sent.contains(*payload)).count();
        faults.disorder += met.windows(2).filter(|w| w[0].turn == w[1].turn && w[0].id >= w[1].id).count();
        if consumer != IN_LANES {
            faults.disorder += overtaken(&met, times);
        }
        if whole.contains(&consumer) {
            let mut turns: BTreeMap<&str, HashSet<u64>> = BTreeMap::new();
            for effect in &met {
                turns.entry(transaction(&effect.payload)).or_default().insert(effect.turn);
            }
            faults.split += turns.values().filter(|turns| turns.len() > 1).count();
        }
    }
    faults
}

/// How many come after an event whose transaction began when theirs had been committed.
fn overtaken(met: &[&Effect], times: &Times) -> usize {
    let (mut latest, mut found) = (0, 0);
    for effect in met.iter().filter(|e| e.attempt == 1) {
        let (began, ended) = times.get(transaction(&effect.payload)).copied().unwrap_or((0, u64::MAX));
        found += usize::from(ended < latest);
        latest = latest.max(began);
    }
    found
}

#[cfg(test)]
mod bad {
    use super::*;

    /// A history in which `a/1`, `a/2` and then `b/1` were sent, and what `c` met: turn, id and payload.
    fn faults(met: &[(u64, u64, &str)]) -> Faults {
        let effects: Vec<Effect> = met
            .iter()
            .enumerate()
            .map(|(place, &(turn, id, payload))| Effect {
                consumer: "c".into(),
                turn,
                place: place as u64,
                id,
                payload: payload.into(),
                attempt: 1,
            })
            .collect();
        let sent: Vec<String> = ["a/1", "a/2", "b/1"].map(String::from).to_vec();
        let times = Times::from([("a".into(), (1, 2)), ("b".into(), (3, 4))]);
        Faults { some: Vec::new(), ..check(&sent, &effects, &["c"], &["c"], &times) }
    }

    #[test]
    fn good_histories_pass() {
        assert!(!faults(&[(1, 1, "a/1"), (1, 2, "a/2"), (1, 3, "b/1")]).any());
        assert!(!faults(&[(1, 1, "a/1"), (1, 2, "a/2"), (7, 3, "b/1")]).any());
    }

    #[test]
    fn bad_histories_are_rejected() {
        let none = Faults::default();
        assert_eq!(faults(&[(1, 1, "a/1"), (1, 2, "a/2")]), Faults { lost: 1, ..none.clone() });
        assert_eq!(faults(&[]), Faults { lost: 3, ..none.clone() });
        let twice = [(1, 1, "a/1"), (1, 2, "a/2"), (1, 3, "b/1"), (2, 3, "b/1")];
        assert_eq!(faults(&twice), Faults { doubled: 1, split: 1, ..none.clone() });
        let aborted = [(1, 1, "a/1"), (1, 2, "a/2"), (2, 3, "b/1"), (2, 4, "x/1")];
        assert_eq!(faults(&aborted), Faults { phantom: 1, ..none.clone() });
        let turned = [(1, 2, "a/2"), (1, 1, "a/1"), (2, 3, "b/1")];
        assert_eq!(faults(&turned), Faults { disorder: 1, ..none.clone() });
        let early = [(1, 1, "b/1"), (1, 2, "a/1"), (1, 3, "a/2")];
        assert_eq!(faults(&early), Faults { disorder: 2, ..none.clone() });
        let torn = [(1, 1, "a/1"), (2, 2, "a/2"), (2, 3, "b/1")];
        assert_eq!(faults(&torn), Faults { split: 1, ..none });
    }

    #[test]
    fn one_consumer_does_not_stand_for_another() {
        let met = |consumer: &str| Effect {
            consumer: consumer.into(),
            turn: 1,
            place: 1,
            id: 1,
            payload: "a/1".into(),
            attempt: 1,
        };
        let (sent, times) = (vec!["a/1".to_owned()], Times::new());
        let faults = check(&sent, &[met("c"), met("c")], &["c", "d"], &[], &times);
        assert_eq!((faults.lost, faults.doubled), (1, 1));
    }
}
