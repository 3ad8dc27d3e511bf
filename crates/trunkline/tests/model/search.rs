//! Breadth-first search through every reachable state of a model, so that the first violation has a shortest trace.
//!
//! A model answers four questions: where it starts, which steps may come next, which states are wrong, and which
//! states are wrong to *end* in. Steps that need not happen (a crash, a cancel) are marked optional: a state from which
//! nothing but optional steps lead is an end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::{Debug, Display};
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A world too large to be walked through in a test is a mistake in its bounds.
const MOST_STATES: usize = 400_000;

pub(crate) trait Model {
    type State: Clone + Eq + Hash;
    type Step: Display;

    fn start(&self) -> Self::State;
    fn next(&self, state: &Self::State) -> Vec<(Self::Step, Self::State)>;
    /// Why no schedule may ever pass through this state.
    fn wrong(&self, state: &Self::State) -> Option<String>;
    /// Why no schedule may end here, where only optional steps are left.
    fn wrong_end(&self, state: &Self::State) -> Option<String>;
    fn optional(_step: &Self::Step) -> bool {
        false
    }
}

/// What a search found: how many states, and the shortest way to a wrong one.
pub(crate) struct Report {
    pub(crate) states: usize,
    pub(crate) violation: Option<String>,
}

impl Report {
    /// One line for the test's output, or the reason why the variant is not sound.
    pub(crate) fn sound(self, name: &str) -> String {
        match self.violation {
            None => format!("sound   {name}: {} states", self.states),
            Some(trace) => panic!("{name} should be sound, but after {} states\n{trace}", self.states),
        }
    }

    /// The shortest trace, or the complaint that the variant is not as broken as we say.
    pub(crate) fn broken(self, name: &str) -> String {
        match self.violation {
            Some(trace) => format!("broken  {name}: {} states\n{trace}", self.states),
            None => panic!("{name} should be broken, but none of its {} states is wrong", self.states),
        }
    }
}

struct Search<'m, M: Model> {
    model: &'m M,
    states: Vec<M::State>,
    parents: Vec<usize>,
    seen: HashMap<M::State, usize, BuildHasherDefault<Fold>>,
    /// For each state the states from which a non-optional step leads to it; only filled for `always_ends`.
    before: Option<Vec<Vec<usize>>>,
    ends: Vec<usize>,
}

/// Walks through all states and stops at the first wrong one.
pub(crate) fn explore<M: Model>(model: &M) -> Report {
    let mut search = Search::new(model, false);
    let violation = search.run();
    Report { states: search.states.len(), violation }
}

/// As `explore`, and also asks that an end can be reached from every state by steps that must happen: no schedule
/// is ever caught in a circle that it cannot leave.
pub(crate) fn explore_to_the_end<M: Model>(model: &M) -> Report {
    let mut search = Search::new(model, true);
    let violation = search.run().or_else(|| search.trapped());
    Report { states: search.states.len(), violation }
}

impl<'m, M: Model> Search<'m, M> {
    fn new(model: &'m M, edges: bool) -> Self {
        let before = edges.then(Vec::new);
        let mut search =
            Search { model, states: vec![], parents: vec![], seen: HashMap::default(), before, ends: vec![] };
        search.meet(model.start(), 0);
        search
    }

    fn meet(&mut self, state: M::State, parent: usize) -> usize {
        let number = self.states.len();
        match self.seen.entry(state) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => {
                self.states.push(unknown.key().clone());
                self.parents.push(parent);
                unknown.insert(number);
                if let Some(before) = &mut self.before {
                    before.push(Vec::new());
                }
                number
            }
        }
    }

    fn run(&mut self) -> Option<String> {
        let mut at = 0;
        while at < self.states.len() {
            assert!(self.states.len() < MOST_STATES, "more than {MOST_STATES} states");
            let state = self.states[at].clone();
            if let Some(why) = self.model.wrong(&state) {
                return Some(self.trace(at, &why));
            }
            let mut end = true;
            for (step, next) in self.model.next(&state) {
                if next == state {
                    continue;
                }
                let number = self.meet(next, at);
                if !M::optional(&step) {
                    end = false;
                    if let Some(before) = &mut self.before {
                        before[number].push(at);
                    }
                }
            }
            if end {
                self.ends.push(at);
                if let Some(why) = self.model.wrong_end(&state) {
                    return Some(self.trace(at, &why));
                }
            }
            at += 1;
        }
        None
    }

    fn trapped(&self) -> Option<String> {
        let before = self.before.as_ref().expect("edges were kept");
        let mut can_end = vec![false; self.states.len()];
        let mut todo = self.ends.clone();
        while let Some(at) = todo.pop() {
            if !std::mem::replace(&mut can_end[at], true) {
                todo.extend(&before[at]);
            }
        }
        let at = can_end.iter().position(|can| !can)?;
        Some(self.trace(at, "from here no schedule can end"))
    }

    /// Steps are not stored but found again, by asking each parent how it came to its child.
    fn trace(&self, mut at: usize, why: &str) -> String {
        let mut lines = vec![format!("    => {why}")];
        while at != 0 {
            let (parent, child) = (self.parents[at], &self.states[at]);
            let steps = self.model.next(&self.states[parent]);
            let (step, _) =
                steps.into_iter().find(|(_, next)| next == child).expect("a parent knows its child");
            lines.push(format!("    {step}"));
            at = parent;
        }
        lines.reverse();
        lines.join("\n")
    }
}

/// A hash for small keys that we made ourselves: the standard one resists attackers, and takes most of the time.
#[derive(Default, Debug)]
struct Fold(u64);

impl Fold {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.add(byte.into()));
    }
    fn write_u8(&mut self, byte: u8) {
        self.add(byte.into());
    }
    fn write_isize(&mut self, number: isize) {
        self.add(number.unsigned_abs() as u64);
    }
    fn finish(&self) -> u64 {
        // The table looks at the top bits as well as the bottom ones.
        self.0 ^ self.0.rotate_left(26)
    }
}
