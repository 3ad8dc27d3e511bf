//! Snapshot windows under a shared cursor: every committed row is taken exactly once.
//!
//! ```text
//! producer   start ──draws its xid──▶ drawn ──inserts: draws its id──▶ inserted ──▶ committed / aborted
//!
//! taker      idle ──waits for the cursor's lock──▶ locked ──snapshot, takes──▶ taking ──commits / dies──▶ idle
//!              └──snapshot before the lock (broken variants, and compare-and-set)──┘
//!
//! cursor     (lo, hi], pos:  next are the rows whose xid hi sees and lo does not, by id, from pos on, n at a time;
//!            when there are none left: lo := hi, hi := the taker's snapshot, pos := 0
//! ```
//!
//! A snapshot is written as the set of producers that had *ended* in it: a transaction that ended has an xid below
//! xmax and is not listed as running, and every other one is at or above xmax, or listed. Ids are drawn apart from xids and
//! in any order; an aborted row keeps its place in every window and is seen in none.

use std::fmt;

use crate::search::{Model, explore};

const PRODUCERS: usize = 3;
const TAKERS: usize = 2;
/// The number of a cursor that was just written; renumbered to 0 before the step is over.
const NEWER: u8 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    /// READ COMMITTED: waits for the cursor row's lock, then takes its snapshot in the next statement.
    Chosen,
    /// Any isolation level, no lock: the take follows the cursor's number under a unique index, or is refused.
    CompareAndSet,
    /// No windows: everything committed above the last id.
    AboveLastId,
    /// One statement: the snapshot is from before the wait; the locked cursor row is read anew.
    OneStatement,
    /// REPEATABLE READ over insert-only cursor rows: cursor and snapshot are from before the wait.
    OldCursor,
    /// The window moves on while rows of it are left.
    MovesOnEarly,
    /// The stored snapshot calls the taker's own running xid visible: taker 0 takes inside producer 0's transaction.
    OwnXid,
}

#[derive(Clone, Copy)]
struct Window {
    rule: Rule,
    /// Rows a take.
    most: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Pro {
    Start,
    Drawn,
    Inserted(u8),
    Committed(u8),
    Aborted,
}

/// A set of producers, one bit each.
type Set = u8;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Cursor {
    number: u8,
    lo: Set,
    hi: Set,
    pos: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Taker {
    Idle,
    /// Has a snapshot, and the cursor that it saw in it.
    Began {
        snapshot: Set,
        cursor: Cursor,
    },
    Locked(Option<(Set, Cursor)>),
    /// Has read; the new cursor and the rows are written, not committed.
    Taking {
        taken: Set,
        cursor: Cursor,
    },
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    producers: [Pro; PRODUCERS],
    ids: u8,
    takers: [Taker; TAKERS],
    cursor: Cursor,
    taken: Set,
    twice: Set,
}

enum Step {
    Producer(usize, &'static str),
    Taker(usize, String),
    Dies(usize),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Producer(i, act) => write!(f, "producer {i} {act}"),
            Step::Taker(i, act) => write!(f, "taker {i} {act}"),
            Step::Dies(i) => write!(f, "taker {i} dies"),
        }
    }
}

impl State {
    fn ended(&self) -> Set {
        (0..PRODUCERS)
            .filter(|&p| matches!(self.producers[p], Pro::Committed(_) | Pro::Aborted))
            .fold(0, |set, p| set | 1 << p)
    }

    /// Committed rows of a set, by id from `pos` on.
    fn rows(&self, set: Set, pos: u8) -> Vec<(u8, usize)> {
        let mut rows: Vec<_> = (0..PRODUCERS)
            .filter(|p| set & 1 << p != 0)
            .filter_map(|p| match self.producers[p] {
                Pro::Committed(id) if id > pos => Some((id, p)),
                _ => None,
            })
            .collect();
        rows.sort_unstable();
        rows
    }
}

type Steps = Vec<(Step, State)>;

impl Window {
    /// What a taker takes, and the cursor that it leaves behind.
    fn take(&self, state: &State, snapshot: Set, mut cursor: Cursor) -> (Set, Cursor) {
        let mut rows = match self.rule {
            Rule::AboveLastId => state.rows(snapshot, cursor.pos),
            _ => state.rows(cursor.hi & !cursor.lo, cursor.pos),
        };
        let moves_on = rows.is_empty() || self.rule == Rule::MovesOnEarly && cursor.pos > 0;
        if self.rule != Rule::AboveLastId && moves_on {
            (cursor.lo, cursor.hi, cursor.pos) = (cursor.hi, snapshot, 0);
            rows = state.rows(cursor.hi & !cursor.lo, 0);
        }
        rows.truncate(self.most);
        cursor.pos = rows.last().map_or(cursor.pos, |row| row.0);
        (rows.iter().fold(0, |set, row| set | 1 << row.1), cursor)
    }

    /// Compare-and-set needs to know only who saw the newest cursor: 0 is the newest number, 1 any older one. Who saw
    /// an older one will be refused, whatever else it saw.
    fn renumber(&self, state: &mut State) {
        let newest = state.cursor.number;
        state.cursor.number = 0;
        for taker in &mut state.takers {
            let (set, cursor) = match taker {
                Taker::Began { snapshot, cursor } | Taker::Locked(Some((snapshot, cursor))) => {
                    (snapshot, cursor)
                }
                Taker::Taking { taken, cursor } => (taken, cursor),
                Taker::Idle | Taker::Locked(None) => continue,
            };
            cursor.number = u8::from(cursor.number != newest);
            if self.rule == Rule::CompareAndSet && cursor.number == 1 {
                (*set, *cursor) = (0, Cursor { number: 1, lo: 0, hi: 0, pos: 0 });
            }
        }
    }

    fn taker(&self, s: &State, i: usize, steps: &mut Steps) {
        let to = |taker| {
            let mut next = s.clone();
            next.takers[i] = taker;
            next
        };
        let early = matches!(self.rule, Rule::CompareAndSet | Rule::OneStatement | Rule::OldCursor);
        let holds = |t: &Taker| matches!(t, Taker::Locked(_) | Taker::Taking { .. });
        let locked = s.takers.iter().any(holds) && self.rule != Rule::CompareAndSet;
        match s.takers[i] {
            Taker::Idle if early => {
                let began = Taker::Began { snapshot: s.ended(), cursor: s.cursor };
                steps.push((Step::Taker(i, "begins, has its snapshot".into()), to(began)));
            }
            Taker::Idle | Taker::Began { .. } if locked => {}
            Taker::Idle => steps.push((Step::Taker(i, "locks the cursor".into()), to(Taker::Locked(None)))),
            Taker::Began { snapshot, cursor } => {
                let cursor = if self.rule == Rule::OneStatement { s.cursor } else { cursor };
                let next = to(Taker::Locked(Some((snapshot, cursor))));
                steps.push((Step::Taker(i, "goes on, with the lock if there is one".into()), next));
            }
            Taker::Locked(early) => {
                let own = if self.rule == Rule::OwnXid && i == 0 { 1 } else { 0 };
                let (snapshot, cursor) = early.unwrap_or((s.ended() | own, s.cursor));
                let (taken, cursor) = match cursor.number {
                    1 if self.rule == Rule::CompareAndSet => (0, cursor),
                    _ => self.take(s, snapshot, cursor),
                };
                let act = format!(
                    "takes {taken:03b}, cursor ({:03b}, {:03b}], {}",
                    cursor.lo, cursor.hi, cursor.pos
                );
                steps.push((Step::Taker(i, act), to(Taker::Taking { taken, cursor })));
            }
            Taker::Taking { taken, cursor } => {
                let mut next = to(Taker::Idle);
                if self.rule != Rule::CompareAndSet || cursor.number == s.cursor.number {
                    next.cursor = Cursor { number: NEWER, ..cursor };
                    next.twice |= s.taken & taken;
                    next.taken |= taken;
                    steps.push((Step::Taker(i, "commits".into()), next));
                } else {
                    steps.push((Step::Taker(i, "is refused: another take came first".into()), next));
                }
            }
        }
        if s.takers[i] != Taker::Idle {
            steps.push((Step::Dies(i), to(Taker::Idle)));
        }
    }
}

impl Model for Window {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let cursor = Cursor { number: 0, lo: 0, hi: 0, pos: 0 };
        let (producers, takers) = ([Pro::Start; PRODUCERS], [Taker::Idle; TAKERS]);
        State { producers, ids: 0, takers, cursor, taken: 0, twice: 0 }
    }

    fn next(&self, s: &State) -> Steps {
        let mut steps = Steps::new();
        for i in 0..PRODUCERS {
            let mut add = |act, to| {
                let mut next = s.clone();
                next.producers[i] = to;
                next.ids += u8::from(matches!(to, Pro::Inserted(_)));
                steps.push((Step::Producer(i, act), next));
            };
            match s.producers[i] {
                Pro::Start => add("draws its xid", Pro::Drawn),
                Pro::Drawn => add("inserts", Pro::Inserted(s.ids + 1)),
                Pro::Inserted(id) => {
                    add("commits", Pro::Committed(id));
                    add("aborts", Pro::Aborted);
                }
                Pro::Committed(_) | Pro::Aborted => {}
            }
        }
        (0..TAKERS).for_each(|i| self.taker(s, i, &mut steps));
        steps.iter_mut().for_each(|(_, next)| self.renumber(next));
        steps
    }

    fn wrong(&self, s: &State) -> Option<String> {
        if s.twice != 0 {
            return Some(format!("TWICE: rows {:03b} were taken twice", s.twice));
        }
        let Cursor { lo, hi, pos, .. } = s.cursor;
        let passed = |id: u8, p: usize| match self.rule {
            Rule::AboveLastId => id <= pos,
            _ => lo & 1 << p != 0 || hi & 1 << p != 0 && id <= pos,
        };
        let lost = s.rows(!s.taken, 0).into_iter().any(|(id, p)| passed(id, p));
        lost.then(|| "LOST: the cursor has gone past a committed row that nobody took".into())
    }

    fn wrong_end(&self, _: &State) -> Option<String> {
        None
    }
}

#[test]
fn every_committed_row_is_taken_once() {
    for (rule, most) in [(Rule::Chosen, 1), (Rule::Chosen, 2), (Rule::CompareAndSet, 1)] {
        println!("{}", explore(&Window { rule, most }).sound(&format!("{rule:?}, {most} a take")));
    }
}

#[test]
fn every_other_cursor_loses_or_doubles() {
    use Rule::*;
    for rule in [AboveLastId, OneStatement, OldCursor, MovesOnEarly, OwnXid] {
        println!("{}", explore(&Window { rule, most: 1 }).broken(&format!("{rule:?}")));
    }
}
