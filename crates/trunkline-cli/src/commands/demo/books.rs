//! The books: every request that was announced must end exactly once, unless its consumer was killed.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use super::{
    event::{Done, Event, How, Told},
    listener::Alarms,
    queue::Figures,
    tally::Tally,
};

/// What one consumer did.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) sent: u64,
    ended: [u64; How::ALL.len()],
    open: HashMap<u64, (Instant, bool)>,
    pub(super) last: String,
    pub(super) last_how: Option<How>,
}

impl Account {
    pub(super) fn of(&self, how: How) -> u64 {
        self.ended[how as usize]
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.open.len() as u64
    }

    fn total(&self) -> u64 {
        self.ended.iter().sum()
    }
}

/// What one controller did.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) took: u64,
    pub(super) answered: u64,
    /// Handlers dropped because their caller no longer waited.
    pub(super) given_up: u64,
    /// Handlers dropped at the deadline.
    pub(super) too_late: u64,
    /// Taken over from a controller that died.
    pub(super) second_hand: u64,
    pub(super) in_hand: HashSet<i64>,
}

/// What one worker says of itself.
#[derive(Debug, Default)]
pub(super) struct Bench {
    pub(super) began: u64,
    pub(super) done: u64,
    pub(super) in_hand: HashSet<i64>,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) accounts: HashMap<usize, Account>,
    pub(super) desks: HashMap<usize, Desk>,
    pub(super) benches: HashMap<usize, Bench>,
    /// Replies that were not the MD5 of what was sent, refusals without a reason.
    pub(super) wrong: u64,
    /// Ends of requests that were not open: never sent, or ended before.
    pub(super) stray: u64,
    /// Round trips in microseconds, of quick requests while nothing was wrong.
    samples: Vec<u64>,
    calm_since: Option<Instant>,
    /// The events of the stream.
    pub(super) tally: Tally,
    /// What the database says of the jobs.
    pub(super) jobs: Figures,
    /// The messages, and who heard them.
    pub(super) alarms: Alarms,
    /// What became of the SHUTDOWNs, by address.
    pub(super) told: HashMap<String, Told>,
}

impl Books {
    pub(super) fn enter(&mut self, part: usize, event: &Event) {
        match event {
            Event::Sent { n, quick, .. } => {
                let account = self.accounts.entry(part).or_default();
                account.sent += 1;
                if account.open.insert(*n, (Instant::now(), *quick)).is_some() {
                    self.stray += 1;
                }
            }
            Event::Ended { n, number, how, us, correct, text } => {
                self.wrong += u64::from(!correct);
                let account = self.accounts.entry(part).or_default();
                let Some((began, quick)) = account.open.remove(n) else {
                    self.stray += 1;
                    return;
                };
                account.ended[*how as usize] += 1;
                account.last_how = Some(*how);
                account.last = format!("{number} → {text}");
                if quick && *how == How::Replied && self.calm_since.is_some_and(|since| began >= since) {
                    self.samples.push(*us);
                }
            }
            Event::Took { id, attempt, .. } => {
                let desk = self.desks.entry(part).or_default();
                desk.took += 1;
                desk.second_hand += u64::from(*attempt > 1);
                desk.in_hand.insert(*id);
            }
            Event::Done { id, done, .. } => {
                let desk = self.desks.entry(part).or_default();
                desk.in_hand.remove(id);
                match done {
                    Done::Answered => desk.answered += 1,
                    Done::Ended => desk.given_up += 1,
                    Done::TooLate => desk.too_late += 1,
                }
            }
            Event::Began { id, .. } => {
                let bench = self.benches.entry(part).or_default();
                bench.began += 1;
                bench.in_hand.insert(*id);
            }
            Event::Finished { id, .. } => {
                let bench = self.benches.entry(part).or_default();
                bench.done += 1;
                bench.in_hand.remove(id);
            }
            Event::Active { fence } => self.alarms.active(part, *fence),
            Event::Standby => self.alarms.standby(part),
            Event::Heard { n, .. } => self.alarms.hear(part, *n),
            Event::Logged { id } => self.tally.log(*id),
            Event::Counted { events } => self.tally.count(part, events),
            Event::Told { address, told } => {
                self.told.insert(address.clone(), *told);
            }
            Event::Ready { .. } | Event::Shutdown | Event::Left { .. } => {}
        }
    }

    /// From now on (or no longer) round trips count as those of a system in which nothing is wrong.
    pub(super) fn calm(&mut self, calm: bool) {
        self.calm_since = calm.then(Instant::now);
    }

    pub(super) fn sent(&self) -> u64 {
        self.accounts.values().map(|a| a.sent).sum()
    }

    pub(super) fn ended(&self, how: How) -> u64 {
        self.accounts.values().map(|a| a.of(how)).sum()
    }

    /// Sent and not ended: in flight, or unknown when their consumer is dead.
    pub(super) fn open(&self) -> u64 {
        self.accounts.values().map(Account::in_flight).sum()
    }

    /// Each account: sent is what ended plus what is open, and nothing ended twice.
    pub(super) fn balanced(&self) -> bool {
        self.stray == 0 && self.accounts.values().all(|a| a.sent == a.total() + a.in_flight())
    }

    pub(super) fn samples(&self) -> usize {
        self.samples.len()
    }

    /// A percentile of the round trips, in microseconds.
    pub(super) fn percentile(&self, hundredths: usize) -> Option<u64> {
        let mut all = self.samples.clone();
        let last = all.len().checked_sub(1)?;
        let (_, value, _) = all.select_nth_unstable(last * hundredths / 100);
        Some(*value)
    }

    /// Jobs whose handlers have ended, as the workers say.
    pub(super) fn finished(&self) -> u64 {
        self.benches.values().map(|b| b.done).sum()
    }

    /// The jobs that a worker has in hand, as it says.
    pub(super) fn in_hand(&self, worker: usize) -> Vec<i64> {
        self.benches.get(&worker).map_or_else(Vec::new, |b| b.in_hand.iter().copied().collect())
    }

    pub(super) fn handlers_given_up(&self) -> u64 {
        self.desks.values().map(|d| d.given_up).sum()
    }

    pub(super) fn second_hand(&self) -> u64 {
        self.desks.values().map(|d| d.second_hand).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(n: u64) -> Event {
        Event::Sent { n, number: "1".into(), quick: true }
    }

    fn ended(n: u64, how: How, us: u64) -> Event {
        Event::Ended { n, number: "1".into(), how, us, correct: true, text: String::new() }
    }

    #[test]
    fn what_is_open_and_what_ended_is_what_was_sent() {
        let mut books = Books::default();
        books.calm(true);
        (1..=4).for_each(|n| books.enter(7, &sent(n)));
        books.enter(7, &ended(1, How::Replied, 300));
        books.enter(7, &ended(2, How::Replied, 100));
        books.enter(7, &ended(3, How::Lost, 900));
        assert_eq!((books.sent(), books.open(), books.ended(How::Replied)), (4, 1, 2));
        assert_eq!((books.percentile(0), books.percentile(100)), (Some(100), Some(300)));
        assert!(books.balanced());
    }

    #[test]
    fn a_second_end_is_found() {
        let mut books = Books::default();
        books.enter(1, &sent(1));
        books.enter(1, &ended(1, How::Lost, 1));
        books.enter(1, &ended(1, How::Replied, 1));
        assert!(!books.balanced());
    }

    #[test]
    fn an_end_of_what_was_never_sent_is_found() {
        let mut books = Books::default();
        books.enter(1, &ended(1, How::Replied, 1));
        assert!(!books.balanced());
    }
}
