//! A lease whose holder is found gone by its connection: it stops before another may start, whatever was frozen or cut.
//!
//! ```text
//! holder   renews its session (notes its clock) ──▶ server: here until then + TERM ──▶ the answer, late ──▶ trusts until asked + TERM − MARGIN
//!            hears that its connection ended, at most HEARD later ──▶ trusts no more
//! server   the connection ends: its key is free                    next     looks: the key is free, or the term is over
//!                                                                              ──▶ notes: free in NOTICE ──▶ looks again: takes over
//! ```
//!
//! The session's renewals and the connection's end are all that the holder goes by: its lease's own ttl is longer, and only
//! shortens trust further (`trust.rs`). All clocks run at the same speed, and go on while a machine is suspended. A cut has two kinds: one that the holder hears of, in at
//! most `HEARD`, and one that it does not, in which the server keeps the connection until the term is over. That a server whose
//! machine stops without a word comes back within the term is not in this world.

use std::fmt;

use crate::search::{Model, explore};

const TERM: u8 = 5;
const HEARD: u8 = 1;
const END: u8 = 12;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    Chosen,
    /// The next one takes over as soon as it finds the key free.
    NoNotice,
    /// Trusts for a term from the answer on.
    FromAnswer,
    /// The end of the connection changes nothing; the lease's own ttl, which is longer, ends it.
    DeafToEnd,
    /// A late answer to a renewal revives what was over.
    Revived,
    /// Its clock stands still while it is frozen, as that of timers does while a machine is suspended.
    StandingClock,
}

impl Rule {
    fn notice(self) -> u8 {
        if self == Self::NoNotice { 0 } else { HEARD + 1 }
    }

    fn pass(self, state: &mut State) {
        state.now += 1;
        if state.frozen && state.trust > 0 && self == Self::StandingClock {
            state.trust += 1;
        }
        if state.trust <= state.now && self != Self::Revived {
            state.trust = 0;
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    now: u8,
    /// The holder's renewal under way: when it was asked for, and whether the server has it.
    renewal: Option<(u8, bool)>,
    /// Until when the holder trusts; 0 for no more.
    trust: u8,
    /// Until when the server counts the session as here.
    here: u8,
    /// The connection: since when it has ended; and whether the holder will hear of that.
    ended: Option<(u8, bool)>,
    /// The holder does nothing; its clock goes on.
    frozen: bool,
    /// From when on the next one may take it, once it saw the holder gone.
    free_at: Option<u8>,
    taken: bool,
}

struct Step(&'static str);

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Model for Rule {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State {
            now: 1,
            renewal: None,
            trust: TERM,
            here: 1 + TERM,
            ended: None,
            frozen: false,
            free_at: None,
            taken: false,
        }
    }

    fn next(&self, state: &State) -> Vec<(Step, State)> {
        let mut steps = Vec::new();
        let mut add = |act, change: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            change(&mut next);
            steps.push((Step(act), next));
        };
        // It hears of the end in time, unless it is frozen; then first thing when it wakes.
        let must_hear = matches!(state.ended, Some((at, true)) if state.now >= at + HEARD) && state.trust > 0;
        let waits = must_hear && !state.frozen && *self != Rule::DeafToEnd;
        if state.now < END && !waits {
            add("time passes", &|s| self.pass(s));
        }
        if !state.frozen {
            if state.renewal.is_none() && state.ended.is_none() {
                add("the holder asks for a renewal", &|s| s.renewal = Some((s.now, false)));
            }
            if let Some((asked, true)) = state.renewal {
                add("the holder hears the answer", &|s| {
                    let from = if *self == Rule::FromAnswer { s.now } else { asked };
                    s.renewal = None;
                    if s.trust > 0 || *self == Rule::Revived {
                        s.trust = s.trust.max(from + TERM - 1);
                    }
                });
            }
            if matches!(state.ended, Some((_, true))) && *self != Rule::DeafToEnd {
                add("the holder hears that its connection ended", &|s| (s.trust, s.renewal) = (0, None));
            }
            if state.trust > 0 {
                add("the holder is frozen", &|s| s.frozen = true);
            }
        } else {
            // Whoever wakes reads its clock, and its connection, before it acts.
            add("the holder wakes", &|s| {
                s.frozen = false;
                if must_hear && *self != Rule::DeafToEnd {
                    (s.trust, s.renewal) = (0, None);
                }
            });
        }
        if let Some((asked, false)) = state.renewal
            && state.ended.is_none()
        {
            add("the server renews the session", &|s| {
                s.here = s.now + TERM;
                s.renewal = Some((asked, true));
            });
        }
        if state.ended.is_none() {
            add("the connection is ended, and the holder hears of it", &|s| s.ended = Some((s.now, true)));
        }
        if state.ended.is_none() && state.here <= state.now {
            add("the server ends a silent session", &|s| s.ended = Some((s.now, false)));
        }
        let gone = state.ended.is_some() || state.here <= state.now;
        if gone && state.free_at.is_none() && !state.taken {
            add("the next one sees the holder gone", &|s| s.free_at = Some(s.now + self.notice()));
        }
        if state.free_at.is_some_and(|at| at <= state.now) && !state.taken {
            add("the next one takes over", &|s| s.taken = true);
        }
        steps
    }

    fn wrong(&self, state: &State) -> Option<String> {
        // A frozen holder does nothing until it wakes, and then its trust is what its clock says.
        let acts = !state.frozen && state.trust > state.now;
        (acts && state.taken).then(|| "TWO HOLDERS: one trusts the lease while another has it".into())
    }

    fn wrong_end(&self, state: &State) -> Option<String> {
        (state.now >= END && state.ended.is_some() && !state.taken && state.free_at.is_none())
            .then(|| "STUCK: the holder is gone, and nobody can see it".into())
    }
}

#[test]
fn a_holder_stops_before_the_next_one_starts() {
    println!("{}", explore(&Rule::Chosen).sound("Chosen"));
    for rule in [Rule::NoNotice, Rule::FromAnswer, Rule::DeafToEnd, Rule::Revived, Rule::StandingClock] {
        println!("{}", explore(&rule).broken(&format!("{rule:?}")));
    }
}
