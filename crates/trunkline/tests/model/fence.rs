//! Fenced effects: what a lease's holder commits counts only while its fence is the newest.
//!
//! ```text
//! client   out ──updates the fence row (waits for its locks)──▶ taking ──commits──▶ holder with fence f
//!                                                                │ dies                │  ▲
//!                                                                ▼                     │  │ commits its effect / dies
//!                                                               out            checks f▼  │
//!                                                                                    guard open
//! ```
//!
//! The clock is the worst possible one: any client may at any time find the lease expired. Checks read what is
//! committed, and `for share` waits for an open hand-over and then sees its result (READ COMMITTED). Statements that
//! take no row lock have their snapshot at their start and their effect at their commit.
//!
//! The fence row and the expiry row are two rows because a guard must not block its own renewal: `renewal_gets_through`.
//! Who may believe in an unexpired lease, and the race between a renewal and a hand-over, are in `trust.rs`.

use std::fmt;

use crate::search::{Model, explore};

const CLIENTS: usize = 3;
const MOST_HANDOVERS: u8 = 4;

/// How an effect makes sure of the fence. Those that hold no conflicting lock until their commit are one and the same
/// machine; each is listed because each looks different in SQL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Check {
    /// It does not.
    None,
    /// `select fence`, and if it is ours the effect, in one transaction.
    ThenAct,
    /// One statement, `insert … where (select fence …) = f`, that takes no lock.
    OneStatement,
    /// `for key share`, the fence being no key: does not conflict with the hand-over's update.
    KeyShare,
    /// `select fence … for share`, then the effect, in one transaction.
    ForShare,
    /// One statement that updates the fence row, or locks it for share, where the fence is ours.
    CompareAndSet,
}

#[derive(Clone, Copy)]
struct Fence {
    check: Check,
    /// Renewals update the row that guards lock.
    one_row: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Out,
    Taking,
    Holder(u8),
    Guard(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Lock {
    Free,
    Shared,
    Exclusive,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    clients: [At; CLIENTS],
    fence: u8,
    stale: bool,
}

struct Step(usize, &'static str);

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {} {}", self.0, self.1)
    }
}

impl Fence {
    fn row(&self, state: &State) -> Lock {
        let locked_by_guard = |at: &At| matches!(at, At::Guard(_));
        if state.clients.contains(&At::Taking) {
            Lock::Exclusive
        } else if !state.clients.iter().any(locked_by_guard) {
            Lock::Free
        } else {
            match self.check {
                Check::ForShare => Lock::Shared,
                Check::CompareAndSet => Lock::Exclusive,
                _ => Lock::Free,
            }
        }
    }

    /// Whether the check can be done now, for it waits for nobody.
    fn can_check(&self, state: &State) -> bool {
        match self.check {
            Check::ForShare => self.row(state) != Lock::Exclusive,
            Check::CompareAndSet => self.row(state) == Lock::Free,
            _ => true,
        }
    }

    /// Whether a holder's renewal could be done now.
    fn can_renew(&self, state: &State) -> bool {
        !self.one_row || self.row(state) == Lock::Free
    }
}

impl Model for Fence {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State { clients: [At::Out; CLIENTS], fence: 0, stale: false }
    }

    fn next(&self, state: &State) -> Vec<(Step, State)> {
        let mut steps = Vec::new();
        for i in 0..CLIENTS {
            let mut add = |act, at, fence, stale| {
                let mut next = State { fence, stale: state.stale || stale, ..state.clone() };
                next.clients[i] = at;
                steps.push((Step(i, act), next));
            };
            let (fence, free) = (state.fence, self.row(state) == Lock::Free);
            match state.clients[i] {
                At::Out if free && fence < MOST_HANDOVERS => {
                    add("finds the lease expired, updates the fence row", At::Taking, fence, false);
                }
                At::Out => {}
                At::Taking => {
                    add("commits the hand-over", At::Holder(fence + 1), fence + 1, false);
                    add("dies", At::Out, fence, false);
                }
                At::Holder(mine) => {
                    let ours = mine == fence;
                    if self.check == Check::None {
                        add("begins an effect, and checks nothing", At::Guard(mine), fence, false);
                    } else if self.can_check(state) && ours {
                        add("begins an effect, its fence is good", At::Guard(mine), fence, false);
                    } else if self.can_check(state) {
                        add("begins an effect, its fence is stale: steps down", At::Out, fence, false);
                    }
                }
                At::Guard(mine) => {
                    add("commits its effect", At::Holder(mine), fence, mine != fence);
                    add("dies", At::Out, fence, false);
                }
            }
        }
        steps
    }

    fn wrong(&self, state: &State) -> Option<String> {
        if state.stale {
            return Some("STALE EFFECT: committed under a fence that is no longer the newest".into());
        }
        let blocked = |&at: &At| at == At::Guard(state.fence) && !self.can_renew(state);
        let blocked = state.clients.iter().any(blocked) && !state.clients.contains(&At::Taking);
        blocked.then(|| "BLOCKED: the holder's renewal waits for the holder's own guard".into())
    }

    fn wrong_end(&self, state: &State) -> Option<String> {
        (state.fence < MOST_HANDOVERS).then(|| "STUCK: the lease can never be handed over".into())
    }
}

#[test]
fn no_effect_commits_under_a_stale_fence() {
    for check in [Check::ForShare, Check::CompareAndSet] {
        println!("{}", explore(&Fence { check, one_row: false }).sound(&format!("{check:?}")));
    }
    for check in [Check::None, Check::ThenAct, Check::OneStatement, Check::KeyShare] {
        println!("{}", explore(&Fence { check, one_row: false }).broken(&format!("{check:?}")));
    }
}

#[test]
fn renewal_gets_through() {
    for check in [Check::ForShare, Check::CompareAndSet] {
        let name = format!("{check:?}, fence and expiry in one row");
        println!("{}", explore(&Fence { check, one_row: true }).broken(&name));
    }
}
