//! The doorbell's world: transactions and their xids, rows, who holds the door, who waits for whom.

/// Where a producer is. The door is held exclusively in `InDoor`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Pro {
    Start,
    Drawn,
    Locked,
    Inserted,
    InDoor,
    Decided,
    Done,
}

/// Where a consumer is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Ctl {
    Busy,
    Knock,
    Door,
    Drawn,
    Fresh,
    Drain,
    Looked,
    Last,
    /// Does after its last look what should have come before.
    Late,
    Asleep,
    Lost,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Row {
    None,
    Uncommitted,
    Ready,
    InHandOf0,
    InHandOf1,
    Taken,
}

impl Row {
    pub(super) fn hand(consumer: usize) -> Row {
        if consumer == 0 { Row::InHandOf0 } else { Row::InHandOf1 }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Producer {
    pub(super) at: Pro,
    /// 0 while there is none, and again when the transaction has ended.
    pub(super) xid: u8,
    pub(super) row: Row,
    pub(super) rings: bool,
    /// Which consumers have this transaction in their W.
    pub(super) awaited: [bool; 2],
    pub(super) saw_flag: bool,
    pub(super) tested: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Consumer {
    pub(super) at: Ctl,
    pub(super) door: bool,
    pub(super) pending: bool,
    pub(super) listens: bool,
    pub(super) cut: bool,
    /// The fresh xid, until W is known; and whether its transaction still runs.
    pub(super) fresh: u8,
    pub(super) drawing: bool,
    /// Whether the other consumer has that transaction in its W.
    pub(super) awaited: bool,
}

impl Consumer {
    pub(super) fn new() -> Consumer {
        Consumer {
            at: Ctl::Busy,
            door: false,
            pending: false,
            listens: true,
            cut: false,
            fresh: 0,
            drawing: false,
            awaited: false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct State {
    pub(super) producers: [Producer; 3],
    pub(super) consumers: [Consumer; 2],
    /// The latest completed xid: a snapshot's xmax, less one.
    latest: u8,
    pub(super) faults: u8,
}

impl State {
    pub(super) fn new(producers: usize) -> State {
        let idle = Producer {
            at: Pro::Start,
            xid: 0,
            row: Row::None,
            rings: false,
            awaited: [false; 2],
            saw_flag: false,
            tested: false,
        };
        let mut all = [Producer { at: Pro::Done, ..idle }; 3];
        all[..producers].fill(idle);
        State { producers: all, consumers: [Consumer::new(); 2], latest: 1, faults: 0 }
    }

    pub(super) fn draw(&self) -> u8 {
        1 + self.numbers().into_iter().max().unwrap_or(0)
    }

    fn numbers(&self) -> [u8; 6] {
        let ([p, q, r], [c, d]) = (self.producers, self.consumers);
        [p.xid, q.xid, r.xid, c.fresh, d.fresh, self.latest]
    }

    /// Renumbers xids from 1 in their order.
    pub(super) fn renumber(&mut self) {
        let mut used = [false; 16];
        self.numbers().into_iter().for_each(|n| used[usize::from(n)] = true);
        let mut rank = [0; 16];
        let mut last = 0;
        for n in 1..16 {
            last += u8::from(used[n]);
            rank[n] = last;
        }
        let to = |n: u8| rank[usize::from(n)];
        self.producers.iter_mut().for_each(|p| p.xid = to(p.xid));
        self.consumers.iter_mut().for_each(|c| c.fresh = to(c.fresh));
        self.latest = to(self.latest);
    }

    /// The same state for all names that the actors could have.
    pub(super) fn nameless(&self) -> State {
        let mut one = *self;
        one.producers.sort_unstable();
        let mut two = *self;
        two.consumers.swap(0, 1);
        for p in &mut two.producers {
            p.awaited.swap(0, 1);
            p.row = match p.row {
                Row::InHandOf0 => Row::InHandOf1,
                Row::InHandOf1 => Row::InHandOf0,
                row => row,
            };
        }
        two.producers.sort_unstable();
        one.min(two)
    }

    /// Commit or abort, with all that PostgreSQL does at that moment.
    pub(super) fn end_producer(&mut self, i: usize, commits: bool) {
        let p = self.producers[i];
        self.latest = self.latest.max(p.xid);
        let row = if commits { Row::Ready } else { Row::None };
        self.producers[i] = Producer { at: Pro::Done, row, ..State::new(1).producers[0] };
        if commits && p.rings {
            self.consumers
                .iter_mut()
                .filter(|c| c.at != Ctl::Dead && c.listens)
                .for_each(|c| c.pending = true);
        }
    }

    pub(super) fn end_draw(&mut self, i: usize) {
        let c = &mut self.consumers[i];
        if c.drawing {
            self.latest = self.latest.max(c.fresh);
        }
        (c.drawing, c.awaited) = (false, false);
    }

    pub(super) fn takes(&self, i: usize) -> bool {
        self.producers.iter().any(|p| p.row == Row::hand(i))
    }

    pub(super) fn end_take(&mut self, i: usize, to: Row) {
        self.producers.iter_mut().filter(|p| p.row == Row::hand(i)).for_each(|p| p.row = to);
    }

    pub(super) fn leave_door(&mut self, i: usize) {
        self.forget(i);
        (self.consumers[i].door, self.consumers[i].fresh) = (false, 0);
    }

    /// W becomes empty.
    pub(super) fn forget(&mut self, i: usize) {
        self.producers.iter_mut().for_each(|p| p.awaited[i] = false);
        self.consumers[1 - i].awaited = false;
    }

    /// Takes W from a snapshot: running xids below its xmax, and below the fresh one if there is one.
    pub(super) fn list_running(&mut self, i: usize, fresh: bool) {
        let xmax = self.latest + 1;
        let below = if fresh { xmax.min(self.consumers[i].fresh) } else { xmax };
        self.producers.iter_mut().for_each(|p| p.awaited[i] = p.xid != 0 && p.xid < below);
        let other = &mut self.consumers[1 - i];
        other.awaited = other.drawing && other.fresh < below;
        (self.consumers[i].fresh, self.consumers[i].at) = (0, Ctl::Drain);
    }

    pub(super) fn awaits(&self, i: usize) -> bool {
        self.producers.iter().any(|p| p.awaited[i]) || self.consumers[1 - i].awaited
    }

    /// Drops from W who holds no lock on the log table.
    pub(super) fn drop_unlocked(&mut self, i: usize) {
        for p in &mut self.producers {
            p.awaited[i] &= p.at == Pro::Locked || p.row == Row::Uncommitted;
        }
        self.consumers[1 - i].awaited = false;
    }
}
