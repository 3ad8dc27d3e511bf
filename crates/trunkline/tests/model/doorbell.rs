//! The doorbell: producers ring only if somebody sleeps, and nobody sleeps through a committed row.
//!
//! ```text
//! producer   start ──insert: draws xid──▶ inserted ──try door──┬─ taken ─▶ in the door ──unlock──▶ silent ─┐
//!              │                              ▲                └─ refused ───────────────────────▶ ringing ┤
//!              └─unrelated write─▶ drawn ─────┘◀──────────────── rollback to savepoint ────────────────────┤
//!                                                             commit: row visible, NOTIFY delivered / abort ┘
//!
//! consumer   busy ──looks, nothing──▶ knock ──shared door──▶ door ──draws fresh xid──▶ drawn ──commits──▶ fresh
//!              ▲                        │ refused                                                           │
//!              ◀────────────────────────┘                                       W := running xids < fresh   ▼
//!              ◀──after a take, lets go of the door── last ◀──sees W empty── drain: looks, drops the finished from W
//!                                                     │  ▲
//!                                    looks, nothing   ▼  │ notification
//!                                                    asleep (the door is still held)
//! ```
//!
//! Why it is sound: a producer whose xid is younger than `fresh` drew it, and therefore tried the door, after the door
//! was held: it rings. An older one is in W, or had ended before W was listed: the look after W was seen empty finds it.
//!
//! PostgreSQL as modelled: a snapshot's xmax is the *latest completed* xid + 1, and only running xids below it are listed;
//! rows become visible, and notifications are delivered, atomically at commit; advisory locks ask for no snapshot, so a
//! producer at REPEATABLE READ is the same producer; locks die with their session; a session does not conflict with
//! itself; ROLLBACK TO gives back table locks and takes back notifications. Xids are renumbered in order, for only
//! their order matters. Finished xids leave W at once; the consumer learns of it when it polls.

use std::fmt;

use crate::search::{Model, explore};

mod world;
use world::{Consumer, Ctl, Pro, Row, State};

/// What the variant does differently from the drawing above. All but the sound ones lose a wake-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Twist {
    None,
    /// Holds the door, looks once, sleeps.
    Naive,
    /// Looks, then sees W empty, then sleeps.
    NoLookAfterW,
    /// Takes W from a snapshot without having drawn and committed a fresh xid.
    NoFreshXid,
    /// Draws the fresh xid before it holds the door.
    FreshBeforeDoor,
    /// Sleepers try the door exclusively, producers shared; who is refused sleeps without holding anything.
    TryExclusive,
    /// The door is a table row, read by producers at REPEATABLE READ in the snapshot they began with.
    FlagRows,
    /// The producer tries the door before it draws its xid.
    TestBeforeXid,
    /// The producer tries the door between drawing its xid and locking the table. Sound without `early_drop`.
    TestBeforeInsert,
    /// After a reconnect: looks, then LISTENs, then sleeps.
    ListenAfterLook,
    /// After a reconnect: LISTENs, looks, sleeps, as if it still held the door.
    ResumeWithoutDoor,
    /// A notification that comes while W drains is taken as the end of draining.
    WakeEndsDrain,
    /// The memory of a notification is cleared after the look instead of before.
    ClearAfterLook,
    /// The look passes over rows that another consumer's open transaction is taking (SKIP LOCKED, try-lock of a lane).
    SkipLocked,
    /// Producer 0 pushes through the session in which consumer 0 holds the door.
    SharedSession,
    /// A producer tries the door once per transaction and keeps the answer, also across ROLLBACK TO.
    OneTest,
    /// As `OneTest`, but only the answer "nobody sleeps" is kept. Sound without `early_drop`.
    OneSilentTest,
}

#[derive(Clone, Copy)]
struct Doorbell {
    twist: Twist,
    producers: usize,
    faults: u8,
    /// Try and unlock are two steps, so producers can meet in the door.
    two_steps: bool,
    /// A take takes one row instead of all.
    one_by_one: bool,
    /// Members of W that hold no lock on the log table are dropped from W.
    early_drop: bool,
    /// Treat states that differ in the actors' names alone as one. Traces would be unreadable.
    nameless: bool,
}

const CHOSEN: Doorbell = Doorbell {
    twist: Twist::None,
    producers: 3,
    faults: 1,
    two_steps: true,
    one_by_one: false,
    early_drop: false,
    nameless: true,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Producer(usize, &'static str),
    Consumer(usize, &'static str),
    /// A crash or a cut connection: may happen, need not.
    Fault(usize, &'static str),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Producer(i, act) => write!(f, "producer {i} {act}"),
            Step::Consumer(i, act) | Step::Fault(i, act) => write!(f, "consumer {i} {act}"),
        }
    }
}

type Steps = Vec<(Step, State)>;

impl Model for Doorbell {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State::new(self.producers)
    }

    fn next(&self, state: &State) -> Steps {
        let mut steps = Steps::with_capacity(12);
        for i in 0..self.producers {
            self.produce(state, i, &mut steps);
        }
        for i in 0..2 {
            self.consume(state, i, &mut steps);
            self.fault(state, i, &mut steps);
        }
        for (_, next) in &mut steps {
            next.renumber();
            if self.nameless {
                *next = next.nameless();
            }
        }
        steps
    }

    fn wrong(&self, state: &State) -> Option<String> {
        let resting = |c: &Consumer| c.at == Ctl::Dead || (c.at == Ctl::Asleep && !c.pending && !c.cut);
        let lost = state.consumers.iter().all(resting)
            && state.producers.iter().all(|p| p.at == Pro::Done)
            && state.producers.iter().any(|p| p.row == Row::Ready);
        lost.then(|| "LOST WAKE-UP: a committed row, and everybody sleeps".into())
    }

    fn wrong_end(&self, state: &State) -> Option<String> {
        let done = |row| matches!(row, Row::None | Row::Taken);
        let settled = state.producers.iter().all(|p| p.at == Pro::Done && done(p.row));
        (!settled).then(|| "STUCK: somebody can neither go on nor sleep".into())
    }

    fn optional(step: &Step) -> bool {
        matches!(step, Step::Fault(..))
    }
}

impl Doorbell {
    fn produce(&self, state: &State, i: usize, steps: &mut Steps) {
        let p = state.producers[i];
        let mut add = |act, change: &dyn Fn(&mut State)| {
            let mut next = *state;
            change(&mut next);
            steps.push((Step::Producer(i, act), next));
        };
        match p.at {
            Pro::Start if self.twist == Twist::FlagRows => add("begins: its snapshot sees the flags", &|s| {
                s.producers[i].saw_flag = s.consumers.iter().any(|c| c.door);
                s.producers[i].at = Pro::Drawn;
            }),
            Pro::Start => {
                add("writes elsewhere: draws its xid", &|s| {
                    s.producers[i].xid = s.draw();
                    s.producers[i].at = Pro::Drawn;
                });
                self.begin_insert(&mut add, i);
            }
            Pro::Drawn => {
                self.begin_insert(&mut add, i);
                add("ends without a row", &|s| s.end_producer(i, false));
            }
            Pro::Locked => add("inserts: draws its xid, if it has none", &|s| self.insert(s, i)),
            Pro::Inserted => {
                self.test(state, i, &mut add);
                add("aborts", &|s| s.end_producer(i, false));
            }
            Pro::InDoor => {
                add("unlocks the door: will not ring", &|s| self.decide(s, i, false));
                add("aborts", &|s| s.end_producer(i, false));
            }
            Pro::Decided => {
                if p.row == Row::None {
                    add("inserts after having tried the door", &|s| self.insert(s, i));
                } else {
                    let act = if p.rings { "commits and rings" } else { "commits in silence" };
                    add(act, &|s| s.end_producer(i, true));
                    add("rolls back to its savepoint", &|s| {
                        s.producers[i] =
                            world::Producer { at: Pro::Drawn, rings: false, row: Row::None, ..p };
                    });
                }
                add("aborts", &|s| s.end_producer(i, false));
            }
            Pro::Done => {}
        }
    }

    /// The insert takes the table's lock before it draws an xid; the two are told apart where it matters.
    fn begin_insert(&self, add: &mut impl FnMut(&'static str, &dyn Fn(&mut State)), i: usize) {
        match self.twist {
            Twist::TestBeforeXid => {
                add("goes to the door before it inserts", &|s| s.producers[i].at = Pro::Inserted)
            }
            Twist::TestBeforeInsert => add("draws its xid, then goes to the door", &|s| {
                s.producers[i].xid = if s.producers[i].xid == 0 { s.draw() } else { s.producers[i].xid };
                s.producers[i].at = Pro::Inserted;
            }),
            _ if self.early_drop => add("locks the table", &|s| s.producers[i].at = Pro::Locked),
            _ => add("inserts", &|s| self.insert(s, i)),
        }
    }

    fn insert(&self, s: &mut State, i: usize) {
        let xid = if s.producers[i].xid == 0 { s.draw() } else { s.producers[i].xid };
        let p = &mut s.producers[i];
        (p.xid, p.row) = (xid, Row::Uncommitted);
        let skips = p.tested || matches!(p.at, Pro::Decided);
        p.at = if skips { Pro::Decided } else { Pro::Inserted };
    }

    fn decide(&self, s: &mut State, i: usize, rings: bool) {
        let p = &mut s.producers[i];
        (p.at, p.rings) = (Pro::Decided, rings);
        p.tested = match self.twist {
            Twist::OneTest => true,
            Twist::OneSilentTest => !rings,
            _ => false,
        };
    }

    fn test(&self, state: &State, i: usize, add: &mut impl FnMut(&'static str, &dyn Fn(&mut State))) {
        let own_session = |c: usize| self.twist == Twist::SharedSession && c == 0 && i == 0;
        let held = (0..2).any(|c| state.consumers[c].door && !own_session(c));
        let crowded =
            state.producers.iter().any(|p| p.at == Pro::InDoor) && self.twist != Twist::TryExclusive;
        let rings = match self.twist {
            Twist::FlagRows => state.producers[i].saw_flag,
            _ => held || crowded,
        };
        if rings {
            add("tries the door, is refused: will ring", &|s| self.decide(s, i, true));
        } else if self.two_steps {
            add("tries the door, gets it", &|s| s.producers[i].at = Pro::InDoor);
        } else {
            add("tries the door and unlocks it: will not ring", &|s| self.decide(s, i, false));
        }
    }

    fn consume(&self, state: &State, i: usize, steps: &mut Steps) {
        let c = state.consumers[i];
        let mut add = |act, change: &dyn Fn(&mut State)| {
            let mut next = *state;
            change(&mut next);
            steps.push((Step::Consumer(i, act), next));
        };
        if state.takes(i) {
            add("commits its take", &|s| s.end_take(i, Row::Taken));
            if matches!(c.at, Ctl::Drain | Ctl::Last) {
                add("commits its take, lets go of the door", &|s| {
                    s.end_take(i, Row::Taken);
                    s.leave_door(i);
                    s.consumers[i].at = Ctl::Busy;
                });
            }
            return;
        }
        if c.cut {
            add("notices that its connection is cut", &|s| {
                s.leave_door(i);
                (s.consumers[i].at, s.consumers[i].cut) = (Ctl::Lost, false);
            });
        }
        if matches!(c.at, Ctl::Busy | Ctl::Drain | Ctl::Last) {
            self.look(state, i, &mut add);
        }
        if !c.cut {
            self.settle(state, i, &mut add);
        }
    }

    /// A look takes what it finds, under a lock that a second look waits for.
    fn look(&self, state: &State, i: usize, add: &mut impl FnMut(&'static str, &dyn Fn(&mut State))) {
        if state.takes(1 - i) && self.twist != Twist::SkipLocked {
            return;
        }
        if state.producers.iter().any(|p| p.row == Row::Ready) {
            let most = if self.one_by_one { 1 } else { self.producers };
            return add("looks and takes", &|s| {
                s.producers
                    .iter_mut()
                    .filter(|p| p.row == Row::Ready)
                    .take(most)
                    .for_each(|p| p.row = Row::hand(i));
            });
        }
        let first = if self.twist == Twist::FreshBeforeDoor { Ctl::Door } else { Ctl::Knock };
        match state.consumers[i].at {
            Ctl::Busy => add("looks, finds nothing", &|s| s.consumers[i].at = first),
            Ctl::Drain if self.twist == Twist::NoLookAfterW => {
                add("looks, finds nothing", &|s| s.consumers[i].at = Ctl::Looked);
            }
            Ctl::Last => add("looks, finds nothing: will sleep", &|s| {
                let c = &mut s.consumers[i];
                let late = self.twist == Twist::ClearAfterLook || (!c.listens && !c.cut);
                c.at = if late { Ctl::Late } else { Ctl::Asleep };
            }),
            _ => {}
        }
    }

    /// Everything that a consumer does besides looking.
    fn settle(&self, state: &State, i: usize, add: &mut impl FnMut(&'static str, &dyn Fn(&mut State))) {
        let c = state.consumers[i];
        match c.at {
            Ctl::Knock => self.knock(state, i, add),
            Ctl::Door => add("draws a fresh xid", &|s| {
                let xid = s.draw();
                let c = &mut s.consumers[i];
                (c.fresh, c.drawing, c.at) = (xid, true, Ctl::Drawn);
            }),
            Ctl::Drawn => add("commits its fresh xid", &|s| {
                s.end_draw(i);
                let knocks = self.twist == Twist::FreshBeforeDoor;
                s.consumers[i].at = if knocks { Ctl::Knock } else { Ctl::Fresh };
            }),
            Ctl::Fresh => {
                add("takes a snapshot: W is known", &|s| s.list_running(i, self.twist != Twist::NoFreshXid))
            }
            Ctl::Drain | Ctl::Looked => self.poll(state, i, add),
            Ctl::Late => add("LISTENs or clears its memory of notifications", &|s| {
                let c = &mut s.consumers[i];
                (c.listens, c.pending, c.at) = (true, false, Ctl::Asleep);
            }),
            Ctl::Asleep if c.pending => add("wakes", &|s| {
                (s.consumers[i].pending, s.consumers[i].at) = (false, Ctl::Last);
            }),
            Ctl::Lost => add("reconnects", &|s| {
                s.consumers[i].listens = self.twist != Twist::ListenAfterLook;
                let resumes = self.twist == Twist::ResumeWithoutDoor;
                s.consumers[i].at = if resumes { Ctl::Last } else { Ctl::Busy };
            }),
            _ => {}
        }
    }

    fn knock(&self, state: &State, i: usize, add: &mut impl FnMut(&'static str, &dyn Fn(&mut State))) {
        let in_door = state.producers.iter().any(|p| p.at == Pro::InDoor);
        let taken = self.twist == Twist::TryExclusive && state.consumers[1 - i].door;
        if in_door && self.twist != Twist::FlagRows {
            return add("knocks, is refused: stays awake", &|s| {
                (s.consumers[i].at, s.consumers[i].fresh) = (Ctl::Busy, 0);
            });
        }
        let act =
            if taken { "knocks, is refused, goes to sleep all the same" } else { "knocks, holds the door" };
        add(act, &|s| {
            s.consumers[i].door = !taken;
            s.consumers[i].at = match self.twist {
                Twist::Naive => Ctl::Last,
                Twist::NoFreshXid | Twist::FreshBeforeDoor => Ctl::Fresh,
                _ => Ctl::Door,
            };
        });
    }

    fn poll(&self, state: &State, i: usize, add: &mut impl FnMut(&'static str, &dyn Fn(&mut State))) {
        let c = state.consumers[i];
        if self.twist == Twist::WakeEndsDrain && c.pending {
            add("is rung at, forgets W", &|s| {
                s.forget(i);
                (s.consumers[i].pending, s.consumers[i].at) = (false, Ctl::Last);
            });
        }
        let mut left = *state;
        if self.early_drop {
            left.drop_unlocked(i);
        }
        let next = match c.at {
            _ if left.awaits(i) && c.at == Ctl::Looked => Ctl::Drain,
            _ if left.awaits(i) => c.at,
            Ctl::Looked => Ctl::Asleep,
            Ctl::Drain if self.twist == Twist::NoLookAfterW => return,
            _ => Ctl::Last,
        };
        left.consumers[i].at = next;
        let act =
            if left.awaits(i) { "polls, drops from W who holds no lock" } else { "polls, sees W empty" };
        add(act, &|s| *s = left);
    }

    /// A fault hits anybody, anywhere, but somebody stays alive.
    fn fault(&self, state: &State, i: usize, steps: &mut Steps) {
        if state.faults == self.faults || state.consumers[i].at == Ctl::Dead {
            return;
        }
        let mut dead = *state;
        dead.faults += 1;
        dead.end_draw(i);
        dead.leave_door(i);
        let mut cut = dead;
        (cut.consumers[i].cut, cut.consumers[i].listens, cut.consumers[i].pending) = (true, false, false);
        steps.push((Step::Fault(i, "loses its connection, and does not know it yet"), cut));
        if state.consumers[1 - i].at == Ctl::Dead {
            return;
        }
        dead.end_take(i, Row::Ready);
        dead.consumers[i] = Consumer { at: Ctl::Dead, ..Consumer::new() };
        steps.push((Step::Fault(i, "dies or leaves for ever"), dead));
    }
}

#[test]
fn nobody_sleeps_through_a_committed_row() {
    let two = Doorbell { producers: 2, faults: 2, ..CHOSEN };
    let worlds = [
        ("chosen, three producers", CHOSEN),
        ("chosen, two faults", two),
        ("try and unlock as one step", Doorbell { two_steps: false, ..two }),
        ("one row a take", Doorbell { one_by_one: true, ..two }),
        ("early drop, three producers", Doorbell { early_drop: true, faults: 0, ..CHOSEN }),
        ("early drop, two faults", Doorbell { early_drop: true, ..two }),
        ("test between xid and insert", Doorbell { twist: Twist::TestBeforeInsert, ..two }),
        ("one silent test a transaction", Doorbell { twist: Twist::OneSilentTest, ..two }),
    ];
    for (name, world) in worlds {
        println!("{}", explore(&world).sound(name));
    }
}

#[test]
fn every_other_way_to_sleep_loses_a_wake_up() {
    use Twist::*;
    let twists = [
        (Naive, 1),
        (NoLookAfterW, 1),
        (NoFreshXid, 1),
        (FreshBeforeDoor, 1),
        (TryExclusive, 1),
        (FlagRows, 1),
        (TestBeforeXid, 1),
        (ListenAfterLook, 1),
        (ResumeWithoutDoor, 1),
        (WakeEndsDrain, 2),
        (ClearAfterLook, 1),
        (SkipLocked, 1),
        (SharedSession, 1),
        (OneTest, 1),
    ];
    let plain = Doorbell { producers: 1, faults: 2, two_steps: false, nameless: false, ..CHOSEN };
    for (twist, producers) in twists {
        println!("{}", explore(&Doorbell { twist, producers, ..plain }).broken(&format!("{twist:?}")));
    }
    for twist in [TestBeforeInsert, OneSilentTest] {
        let world = Doorbell { twist, early_drop: true, ..plain };
        println!("{}", explore(&world).broken(&format!("{twist:?} with early drop")));
    }
}
