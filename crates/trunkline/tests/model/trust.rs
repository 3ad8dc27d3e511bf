//! Who believes in a lease: the holder stops acting before anybody else may start.
//!
//! ```text
//! client   idle ──asks (notes its clock)──▶ asked ──server: expiry row free and (ours or expired)──▶ granted
//!            ▲                                │ server: somebody else's                               │ the answer
//!            ◀────────────────────────────────┘                                                       ▼ arrives, late
//!            ◀───────── its trust is over ──────────────────────────────── trusts until asked + TERM
//!
//! hand-over   locks the expiry row, sees it expired ──▶ waits for the guards on the fence row ──▶ new fence, new expiry
//! ```
//!
//! The expiry row carries the fence that it belongs to. A hand-over locks the expiry row first, judges it under that lock,
//! then takes the fence row; a renewal updates the expiry row where the fence is its own. So either the renewal comes
//! first, and the hand-over sees an unexpired row, or it comes second, and updates nothing.
//!
//! All clocks run at the same speed, and messages take any time. A guard's open transaction holds the fence row.

use std::fmt;

use crate::search::{Model, explore};

const TERM: u8 = 2;
const END: u8 = 7;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    Chosen,
    /// The hand-over takes the fence row first, then the expiry row, and judges that under its lock. Sound as well.
    FenceFirst,
    /// Trusts from the moment the answer came.
    FromAnswer,
    /// The hand-over reads the expiry without a lock, waits for the fence row, then writes both.
    ReadThenLock,
    /// As `ReadThenLock`, but reads the expiry again when it has the fence row; still without a lock.
    ReadAgain,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Idle,
    Asked {
        at: u8,
    },
    /// Has seen the lease expired, and waits for the guards on the fence row.
    Waits {
        at: u8,
    },
    /// As `ReadAgain`: has the fence row, and has seen the lease expired.
    Judged {
        at: u8,
    },
    Granted {
        at: u8,
        fence: u8,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Client {
    at: At,
    fence: u8,
    /// On the common clock; 0 for no trust.
    until: u8,
    /// A guard transaction is open.
    guard: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    now: u8,
    clients: [Client; 2],
    /// Fence row and expiry row.
    fence: u8,
    expiry: (u8, u8),
}

enum Step {
    Tick,
    Client(usize, &'static str),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Tick => write!(f, "time passes"),
            Step::Client(i, act) => write!(f, "client {i} {act}"),
        }
    }
}

impl Rule {
    fn client(self, state: &State, i: usize, steps: &mut Vec<(Step, State)>) {
        let c = state.clients[i];
        let mut add = |act, change: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            change(&mut next);
            steps.push((Step::Client(i, act), next));
        };
        let row_locked = (0..2).any(|j| self.locks_expiry(state.clients[j].at));
        let rereads = matches!(self, Rule::ReadAgain | Rule::FenceFirst);
        match c.at {
            At::Idle => add("asks", &|s| s.clients[i].at = At::Asked { at: s.now }),
            At::Asked { .. } if row_locked => {}
            At::Asked { at } if c.fence != 0 && state.expiry.0 == c.fence => add("renews", &|s| {
                s.expiry.1 = s.now + TERM;
                s.clients[i].at = At::Granted { at, fence: c.fence };
            }),
            At::Asked { at } if state.expiry.1 <= state.now => {
                add("finds the lease expired", &|s| s.clients[i].at = At::Waits { at });
            }
            At::Asked { .. } => add("is refused", &|s| s.clients[i] = Client { at: At::Idle, fence: 0, ..c }),
            At::Waits { .. } if state.clients.iter().any(|c| c.guard) => {}
            At::Waits { .. } if matches!(state.clients[1 - i].at, At::Judged { .. }) => {}
            At::Waits { at } if self == Rule::ReadAgain && state.expiry.1 <= state.now => {
                add("has the fence row, still finds the lease expired", &|s| {
                    s.clients[i].at = At::Judged { at }
                });
            }
            At::Waits { .. } if rereads && state.expiry.1 > state.now => {
                add("backs off", &|s| s.clients[i].at = At::Idle)
            }
            At::Waits { at } | At::Judged { at } => add("takes over", &|s| {
                s.fence += 1;
                s.expiry = (s.fence, s.now + TERM);
                s.clients[i].at = At::Granted { at, fence: s.fence };
            }),
            At::Granted { at, fence } => add("hears that it holds the lease", &|s| {
                let from = if self == Rule::FromAnswer { s.now } else { at };
                s.clients[i] = Client { at: At::Idle, fence, until: from + TERM, ..c };
            }),
        }
        if c.guard {
            add("ends its guard", &|s| s.clients[i].guard = false);
        } else if c.until > state.now && state.fence == c.fence {
            add("opens a guard", &|s| s.clients[i].guard = true);
        }
    }

    fn locks_expiry(self, at: At) -> bool {
        matches!(at, At::Waits { .. }) && matches!(self, Rule::Chosen | Rule::FromAnswer)
    }
}

impl Model for Rule {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let client = Client { at: At::Idle, fence: 0, until: 0, guard: false };
        State { now: 1, clients: [client; 2], fence: 0, expiry: (0, 0) }
    }

    fn next(&self, state: &State) -> Vec<(Step, State)> {
        let mut steps = Vec::new();
        if state.now < END {
            let mut next = State { now: state.now + 1, ..state.clone() };
            next.clients.iter_mut().filter(|c| c.until <= next.now).for_each(|c| c.until = 0);
            steps.push((Step::Tick, next));
        }
        (0..2).for_each(|i| self.client(state, i, &mut steps));
        steps
    }

    fn wrong(&self, state: &State) -> Option<String> {
        let both = state.clients.iter().all(|c| c.until > state.now);
        both.then(|| "TWO HOLDERS: both trust the lease at once".into())
    }

    fn wrong_end(&self, _: &State) -> Option<String> {
        None
    }
}

#[test]
fn two_never_trust_the_same_lease() {
    for rule in [Rule::Chosen, Rule::FenceFirst] {
        println!("{}", explore(&rule).sound(&format!("{rule:?}")));
    }
    for rule in [Rule::FromAnswer, Rule::ReadThenLock, Rule::ReadAgain] {
        println!("{}", explore(&rule).broken(&format!("{rule:?}")));
    }
}
