//! A request's outcome: everybody inserts under one unique key, and whoever comes first has decided.
//!
//! ```text
//! table ended: unique (request, attempt)          table again: (request, attempt) waiting to be taken
//!
//! responder of attempt a   waiting ──takes again(a)──▶ running ──▶ inserts ended(a, reply) ──▶ accepted / refused as stale
//! reaper                   thinks that it is dead:   inserts ended(a, again) and again(a + 1), or ended(a, lost)
//! cancel, timeout          read a = 1 + number of 'again' ──▶ insert ended(a, cancelled | timed out)
//!                            ▲                                  │ refused: read once more; a final end is the outcome
//!                            └──────────────────────────────────┘ or there is a newer attempt
//! waiter                   reads a final end
//! ```
//!
//! READ COMMITTED: every read sees the latest commits, an insert that meets an uncommitted one of the same key waits
//! for its end, and any transaction may abort instead of committing. Reads, inserts and commits are separate steps.
//! Reapers, cancel and timeout may act or not, at any time, also wrongly. Without a deadline a dead responder is reaped at
//! last; with one, responders and reapers may stop for ever, and the timeout must come through all the same.

use std::fmt;

use crate::search::{Model, explore, explore_to_the_end};

const ATTEMPTS: usize = 3;
const CALLERS: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    Chosen,
    /// Inserts guarded by `not exists` instead of a unique key.
    NotExists,
    /// The caller's timeout decides alone and writes nothing.
    LocalTimeout,
    /// `again(a + 1)` is inserted in a second transaction.
    TwoTransactions,
    /// `again(a + 1)` is inserted even if the end was refused.
    AgainAnyway,
    /// The caller ends the attempt that it knows of, and takes a refusal for a final end.
    RefusedIsFinal,
    /// Cancel and timeout decide on the attempt that they once read and never read again.
    OldAttempt,
    /// A responder keeps its transaction open for as long as it likes, and may stop in it.
    StopsInTransaction,
}

#[derive(Clone, Copy)]
struct Request {
    rule: Rule,
    idempotent: bool,
    deadline: bool,
}

/// What a row of `ended` says. All but `Again` are final.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum End {
    Reply,
    Again,
    Lost,
    Cancelled,
    TimedOut,
}

const FINAL: [End; 4] = [End::Reply, End::Lost, End::Cancelled, End::TimedOut];
const CALLER_ENDS: [End; CALLERS] = [End::Cancelled, End::TimedOut];

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Responder {
    /// There is no such attempt yet.
    Absent,
    Waiting,
    Running,
    Replying,
    Accepted,
    Refused,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Caller {
    /// Has not begun, or waits for somebody else's end.
    Waits,
    Read(u8),
    Inserted(u8),
    MustRead(u8),
    Reports(Option<End>),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Reaper {
    Watches,
    Inserted {
        attempt: usize,
        refused: bool,
    },
    /// As `TwoTransactions`: must still insert again(attempt + 1).
    Owes(usize),
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    /// For each attempt the committed ends, as bits.
    ended: [u8; ATTEMPTS],
    responders: [Responder; ATTEMPTS],
    callers: [Caller; CALLERS],
    reapers: [Reaper; 2],
}

impl State {
    fn has(&self, attempt: usize, end: End) -> bool {
        self.ended[attempt] & (1 << end as u8) != 0
    }

    fn write(&mut self, attempt: usize, end: End) {
        self.ended[attempt] |= 1 << end as u8;
    }

    fn finals(&self) -> Vec<(usize, End)> {
        (0..ATTEMPTS).flat_map(|a| FINAL.map(|end| (a, end))).filter(|&(a, end)| self.has(a, end)).collect()
    }

    /// The attempt that a read takes for the current one, counted from 0.
    fn current(&self) -> usize {
        (0..ATTEMPTS).filter(|&a| self.has(a, End::Again)).count().min(ATTEMPTS - 1)
    }

    /// Whether somebody's uncommitted insert holds this key.
    fn key_is_held(&self, attempt: usize) -> bool {
        let held = |r: &Reaper| matches!(r, Reaper::Inserted { attempt: a, refused: false } if *a == attempt);
        self.responders[attempt] == Responder::Replying
            || self.callers.iter().any(|c| matches!(c, Caller::Inserted(a) if usize::from(*a) == attempt))
            || self.reapers.iter().any(held)
    }
}

enum Step {
    Must(String),
    May(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Must(act) | Step::May(act) => f.write_str(act),
        }
    }
}

type Steps = Vec<(Step, State)>;

/// How an insert of an end goes.
enum Insert {
    Waits,
    Refused,
    Done,
}

fn changed(state: &State, change: impl FnOnce(&mut State)) -> State {
    let mut next = state.clone();
    change(&mut next);
    next
}

impl Request {
    fn insert(&self, state: &State, attempt: usize) -> Insert {
        if state.ended[attempt] != 0 {
            Insert::Refused
        } else if state.key_is_held(attempt) && self.rule != Rule::NotExists {
            Insert::Waits
        } else {
            Insert::Done
        }
    }

    fn responder(&self, s: &State, a: usize, steps: &mut Steps) {
        let may_stop = self.deadline && s.responders[a] != Responder::Replying;
        let may_stop = may_stop || self.rule == Rule::StopsInTransaction;
        let mut add = |act: &str, to| {
            let next = changed(s, |s| {
                s.responders[a] = to;
                if to == Responder::Accepted {
                    s.write(a, End::Reply);
                }
            });
            let act = format!("responder {a} {act}");
            steps.push((if may_stop { Step::May(act) } else { Step::Must(act) }, next));
        };
        match s.responders[a] {
            Responder::Waiting => add("takes the request and runs", Responder::Running),
            Responder::Running => {
                match self.insert(s, a) {
                    Insert::Waits => {}
                    Insert::Refused => add("replies, is refused as stale", Responder::Refused),
                    Insert::Done => add("inserts its reply", Responder::Replying),
                }
                let dead = changed(s, |s| s.responders[a] = Responder::Dead);
                steps.push((Step::May(format!("responder {a} dies")), dead));
            }
            Responder::Replying => {
                add("aborts and dies", Responder::Dead);
                add("commits its reply", Responder::Accepted);
            }
            _ => {}
        }
    }

    /// The last attempt is not repeated, nor is a request that must run at most once.
    fn reapers_end(&self, a: usize) -> End {
        if self.idempotent && a + 1 < ATTEMPTS { End::Again } else { End::Lost }
    }

    fn reaper(&self, s: &State, i: usize, steps: &mut Steps) {
        let to = |reaper| changed(s, |s| s.reapers[i] = reaper);
        match s.reapers[i] {
            Reaper::Watches => {
                for (a, responder) in s.responders.into_iter().enumerate() {
                    let dead = responder == Responder::Dead;
                    let thinkable = dead || matches!(responder, Responder::Running | Responder::Replying);
                    let refused = match self.insert(s, a) {
                        Insert::Done => false,
                        Insert::Refused if self.rule == Rule::AgainAnyway => true,
                        _ => continue,
                    };
                    if thinkable {
                        let act = format!("reaper {i} inserts {:?} for attempt {a}", self.reapers_end(a));
                        let step =
                            if dead && !refused && !self.deadline { Step::Must(act) } else { Step::May(act) };
                        steps.push((step, to(Reaper::Inserted { attempt: a, refused })));
                    }
                }
            }
            Reaper::Inserted { attempt: a, refused } => {
                let commit = changed(s, |s| {
                    let end = self.reapers_end(a);
                    if !refused {
                        s.write(a, end);
                    }
                    s.reapers[i] = Reaper::Watches;
                    if end == End::Again && self.rule == Rule::TwoTransactions {
                        s.reapers[i] = Reaper::Owes(a);
                    } else if end == End::Again && s.responders[a + 1] == Responder::Absent {
                        s.responders[a + 1] = Responder::Waiting;
                    }
                });
                steps.push((Step::Must(format!("reaper {i} commits")), commit));
                steps.push((Step::May(format!("reaper {i} aborts")), to(Reaper::Watches)));
            }
            Reaper::Owes(a) => {
                let again = changed(s, |s| {
                    s.reapers[i] = Reaper::Watches;
                    s.responders[a + 1] = Responder::Waiting;
                });
                steps.push((Step::Must(format!("reaper {i} commits again({})", a + 1)), again));
                steps.push((Step::May(format!("reaper {i} dies, another is started")), to(Reaper::Watches)));
            }
        }
    }

    fn caller(&self, s: &State, i: usize, steps: &mut Steps) {
        let end = CALLER_ENDS[i];
        let who = ["cancel", "timeout"][i];
        let to = |caller| changed(s, |s| s.callers[i] = caller);
        let mut must = |act: &str, next| steps.push((Step::Must(format!("{who} {act}")), next));
        let current = u8::try_from(s.current()).expect("few attempts");
        match (s.callers[i], s.finals().first()) {
            (Caller::Reports(_), _) => {}
            (Caller::Waits | Caller::MustRead(_), Some(&(_, end))) => {
                must("reads a final end", to(Caller::Reports(Some(end))));
            }
            (Caller::Waits, None) if self.rule == Rule::LocalTimeout && end == End::TimedOut => {
                let local = to(Caller::Reports(Some(end)));
                steps.push((Step::May("timeout gives up and tells nobody".into()), local));
            }
            (Caller::Waits, None) => {
                let read = to(Caller::Read(current));
                let act = format!("{who} begins, reads attempt {current}");
                let must = self.deadline && end == End::TimedOut;
                steps.push((if must { Step::Must(act) } else { Step::May(act) }, read));
            }
            (Caller::MustRead(a), None) if self.rule == Rule::OldAttempt => {
                must("tries again", to(Caller::Read(a)))
            }
            (Caller::MustRead(_), None) => {
                must(&format!("reads attempt {current}"), to(Caller::Read(current)))
            }
            (Caller::Read(a), _) => match self.insert(s, a.into()) {
                Insert::Waits => {}
                Insert::Refused if self.rule == Rule::RefusedIsFinal => {
                    let finals = s.finals();
                    must(
                        "is refused, reports the final end",
                        to(Caller::Reports(finals.first().map(|f| f.1))),
                    );
                }
                Insert::Refused => must("is refused", to(Caller::MustRead(a))),
                Insert::Done => must("inserts its end", to(Caller::Inserted(a))),
            },
            (Caller::Inserted(a), _) => {
                let commit = changed(s, |s| {
                    s.callers[i] = Caller::Reports(Some(end));
                    s.write(a.into(), end);
                });
                must("commits its end", commit);
                steps.push((Step::May(format!("{who} aborts")), to(Caller::MustRead(a))));
            }
        }
    }
}

impl Model for Request {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let mut responders = [Responder::Absent; ATTEMPTS];
        responders[0] = Responder::Waiting;
        let (callers, reapers) = ([Caller::Waits; CALLERS], [Reaper::Watches; 2]);
        State { ended: [0; ATTEMPTS], responders, callers, reapers }
    }

    fn next(&self, state: &State) -> Steps {
        let mut steps = Steps::new();
        (0..ATTEMPTS).for_each(|a| self.responder(state, a, &mut steps));
        (0..2).for_each(|i| self.reaper(state, i, &mut steps));
        (0..CALLERS).for_each(|i| self.caller(state, i, &mut steps));
        steps
    }

    fn wrong(&self, state: &State) -> Option<String> {
        let finals = state.finals();
        if finals.len() > 1 {
            return Some(format!("TWO OUTCOMES: {finals:?}"));
        }
        if finals.iter().any(|&(a, _)| state.has(a, End::Again)) {
            return Some("STALE: an attempt that was given up has decided".into());
        }
        let outcome = finals.first().map(|f| f.1);
        if let Some(a) = state.responders.iter().position(|&r| r == Responder::Accepted)
            && outcome != Some(End::Reply)
        {
            return Some(format!("responder {a} was told that its reply counts, the outcome is {outcome:?}"));
        }
        let told = |c: &Caller| matches!(c, Caller::Reports(end) if end.is_none() || *end != outcome);
        if state.callers.iter().any(told) && self.rule != Rule::LocalTimeout {
            return Some(format!("DIFFERENT ANSWERS: the caller reports something else than {outcome:?}"));
        }
        let locally =
            state.callers.contains(&Caller::Reports(Some(End::TimedOut))) && outcome == Some(End::Reply);
        if locally {
            return Some(
                "DIFFERENT ANSWERS: the caller says timed out, the responder's reply was accepted".into(),
            );
        }
        let ran =
            state.responders.iter().filter(|r| !matches!(r, Responder::Absent | Responder::Waiting)).count();
        (!self.idempotent && ran > 1).then(|| "RAN TWICE".into())
    }

    fn wrong_end(&self, state: &State) -> Option<String> {
        state.finals().is_empty().then(|| "NO OUTCOME: nobody has anything left to do".into())
    }

    fn optional(step: &Step) -> bool {
        matches!(step, Step::May(_))
    }
}

#[test]
fn everybody_agrees_on_one_outcome() {
    for (idempotent, deadline) in [(true, false), (true, true), (false, false), (false, true)] {
        let report = explore_to_the_end(&Request { rule: Rule::Chosen, idempotent, deadline });
        println!("{}", report.sound(&format!("chosen, idempotent: {idempotent}, deadline: {deadline}")));
    }
}

#[test]
fn every_other_way_to_end_a_request_fails() {
    use Rule::*;
    let without = |rule| Request { rule, idempotent: true, deadline: false };
    for rule in [NotExists, LocalTimeout, TwoTransactions, AgainAnyway, RefusedIsFinal] {
        println!("{}", explore(&without(rule)).broken(&format!("{rule:?}")));
    }
    for rule in [OldAttempt, StopsInTransaction] {
        let world = Request { deadline: true, ..without(rule) };
        println!("{}", explore_to_the_end(&world).broken(&format!("{rule:?}")));
    }
    let once = Request { idempotent: false, ..without(NotExists) };
    println!("{}", explore(&once).broken("NotExists, run at most once"));
}
